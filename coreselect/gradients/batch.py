"""The row of one group, r_m = ∇_θ L(B_m; θ), by `torch.func`; a per-example loss is averaged over the group."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value

from coreselect.gradients.loss_value import loss_value
from coreselect.network.layout import Layout
from coreselect.network.network import Network
from coreselect.protocols import Loss, Params, Stream


def group_row(
    net: Network, layout: Layout, loss: Loss, prepared: Mapping[Stream, Any], labels: Any
) -> tuple[Tensor, Tensor]:
    """Compute the row [P] and the loss (a scalar) of one group.

    Args:
        prepared: for each stream, what the network prepared for the members of the group, [B, …].
        labels: targets as the loss reads them, [B, …], or None.
    """

    def value(theta: Params) -> Tensor:
        outputs = {s: net.apply(theta, z, s[0]) for s, z in prepared.items()}
        return loss_value(loss, outputs, labels).mean()

    with torch.enable_grad():
        slope, at = grad_and_value(value)(dict(net.captured))
    return layout.flatten(slope), at

"""One group's row: r_m = ∇_θ L(B_m; θ), through `torch.func`; a per-example loss is averaged over the group."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.func import grad_and_value

from coreselect.gradients.factored import views_of
from coreselect.network.layout import Layout
from coreselect.network.network import Network
from coreselect.protocols import Loss, Params, Stream


def group_row(
    net: Network, layout: Layout, loss: Loss, prepared: Mapping[Stream, Tensor], labels: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compute (row [P], loss scalar) of one group.

    Args:
        prepared: per stream what the network prepared of the group's members, each [B, …].
        labels: int64 [B] or None.
    """

    def value(theta: Params) -> Tensor:
        outputs = {s: net.apply(theta, z, s[0]) for s, z in prepared.items()}
        return loss(views_of(outputs, "adversarial"), views_of(outputs, "natural"), labels).mean()

    with torch.enable_grad():
        slope, at = grad_and_value(value)(dict(net.captured))
    return layout.flatten(slope), at

"""The row of one group, r_m = ∇_θ L(B_m; θ), by plain autograd; a per-example loss is averaged over the group.

Plain autograd takes any model, also those that `torch.func` refuses: hooks on saved tensors, gradient checkpointing, autograd
functions of the old form, backward hooks.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from coreselect.gradients.loss_value import checked_loss_value
from coreselect.network.layout import Layout
from coreselect.network.network import Network
from coreselect.protocols import Loss, Stream


def group_row(
    net: Network, layout: Layout, loss: Loss, prepared: Mapping[Stream, Any], labels: Any
) -> tuple[Tensor, Tensor]:
    """Compute the row [P] and the loss (a scalar) of one group.

    Args:
        prepared: for each stream, what the network prepared for the members of the group, [B, …].
        labels: targets as the loss reads them, [B, …], or None.
    Raises:
        LossFailure: the loss raised.
    """
    with torch.enable_grad():
        theta = {n: p.detach().clone().requires_grad_() for n, p in net.captured.items()}
        with net.holding(theta):
            outputs = {s: net.apply(theta, z, s[0]) for s, z in prepared.items()}
            value = checked_loss_value(loss, outputs, labels).mean()
            slopes = torch.autograd.grad(value, list(theta.values()), materialize_grads=True)
    return layout.flatten(dict(zip(theta, slopes, strict=True))), value.detach()

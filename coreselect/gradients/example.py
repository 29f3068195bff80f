"""The row of every single example of a batch, by `torch.func.vmap` over `torch.func.grad`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from coreselect.gradients.loss_value import loss_value
from coreselect.network.layout import Layout
from coreselect.network.network import Network
from coreselect.protocols import Loss, Params, Stream
from coreselect.support.structure import taken


def example_rows(
    net: Network, layout: Layout, loss: Loss, prepared: Mapping[Stream, Any], labels: Any
) -> tuple[Tensor, Tensor]:
    """Compute the rows [B, P] and the losses [B] of a per-example loss, for any captured parameters.

    The rows take B×P numbers of memory, so the caller chooses B.

    Args:
        prepared: for each stream, what the network prepared for the examples, [B, …].
        labels: targets as the loss reads them, [B, …], or None.
    """

    def value(theta: Params, one: Mapping[Stream, Any], label: Any) -> Tensor:
        outputs = {s: net.apply(theta, taken(z, None), s[0]) for s, z in one.items()}
        return loss_value(loss, outputs, taken(label, None)).squeeze(0)

    with torch.enable_grad():
        slopes, losses = vmap(grad_and_value(value), in_dims=(None, 0, None if labels is None else 0))(
            dict(net.captured), dict(prepared), labels
        )
    return layout.flatten(slopes, batch=1), losses

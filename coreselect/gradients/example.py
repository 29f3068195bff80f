"""Every example's row [B, P] of a per-example loss, by `torch.func.vmap` of `torch.func.grad`, any captured parameters."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from coreselect.gradients.factored import views_of
from coreselect.network.layout import Layout
from coreselect.network.network import Network
from coreselect.protocols import Loss, Params, Stream


def example_rows(
    net: Network, layout: Layout, loss: Loss, prepared: Mapping[Stream, Tensor], labels: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Compute (rows [B, P], losses [B]); memory is B×P, so the caller chooses B.

    Args:
        prepared: per stream [B, …]; labels: int64 [B] or None.
    """

    def value(theta: Params, one: Mapping[Stream, Tensor], label: Tensor | None) -> Tensor:
        outputs = {s: net.apply(theta, z[None], s[0]) for s, z in one.items()}
        of_one = None if label is None else label[None]
        return loss(views_of(outputs, "adversarial"), views_of(outputs, "natural"), of_one).squeeze(0)

    with torch.enable_grad():
        slopes, losses = vmap(grad_and_value(value), in_dims=(None, 0, None if labels is None else 0))(
            dict(net.captured), dict(prepared), labels
        )
    return layout.flatten(slopes, batch=1), losses

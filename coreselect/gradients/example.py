"""The row of every single example of a batch: at once by `torch.func.vmap`, or one by one where the model does not allow that.

Recurrent layers, writes into fresh tensors, `.item()`, branches on values, copies in channels_last and hooks on saved tensors
cannot be vectorised. `ExampleRows` finds out on a few examples: it compares the first row with the one that plain autograd
gives.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from coreselect.gradients.batch import group_row
from coreselect.gradients.loss_value import LossFailure, loss_value
from coreselect.network.layout import Layout
from coreselect.network.network import Network
from coreselect.protocols import Loss, Params, Stream
from coreselect.support.structure import size, taken


class ExampleRows:
    """Compute rows of single examples: at once, where that is possible and exact for a few examples, else one by one.

    Args:
        prepared, labels: of these few examples. They alone decide, so that no batch depends on the batches before it.
        note: called with a sentence if rows are computed one by one.
    """

    def __init__(
        self,
        net: Network,
        layout: Layout,
        loss: Loss,
        prepared: Mapping[Stream, Any],
        labels: Any,
        note: Callable[[str], None],
    ) -> None:
        self._settings = (net, layout, loss)
        why = self._obstacle(prepared, labels)
        self._compute = example_rows if why is None else rows_one_by_one
        if why is not None:
            note(f"rows of single examples were computed one by one, because the model cannot be vectorised ({why})")

    def __call__(self, prepared: Mapping[Stream, Any], labels: Any) -> tuple[Tensor, Tensor]:
        """Compute the rows [B, P] and the losses [B]; arguments as for `example_rows`."""
        try:
            return self._compute(*self._settings, prepared, labels)
        except LossFailure:
            raise
        except (
            Exception
        ):  # the loss or the model fails on some of these examples inside vmap: this names them, or works
            return rows_one_by_one(*self._settings, prepared, labels)

    def _obstacle(self, prepared: Mapping[Stream, Any], labels: Any) -> str | None:
        """Say why rows cannot be computed at once, or return None."""
        first = {s: taken(z, slice(0, 1)) for s, z in prepared.items()}
        want, _ = group_row(*self._settings, first, taken(labels, slice(0, 1)))
        try:
            rows, _ = example_rows(*self._settings, prepared, labels)
        except Exception as error:  # what a model does inside vmap may raise anything
            return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        off = float((rows[0] - want).abs().max())
        tolerance = 8 * torch.finfo(want.dtype).eps ** 0.5 * float(want.abs().max())
        return f"vectorised rows are off by {off:.2g}" if off > tolerance and bool(torch.isfinite(want).all()) else None


def rows_one_by_one(
    net: Network, layout: Layout, loss: Loss, prepared: Mapping[Stream, Any], labels: Any
) -> tuple[Tensor, Tensor]:
    """Compute what `example_rows` computes, by one backward pass for each example."""
    n = size(next(iter(prepared.values())))
    each: list[tuple[Tensor, Tensor]] = []
    for i in range(n):
        one = slice(i, i + 1)
        try:
            each.append(
                group_row(net, layout, loss, {s: taken(z, one) for s, z in prepared.items()}, taken(labels, one))
            )
        except LossFailure as failure:
            raise LossFailure(failure.name, i + failure.places, failure.said) from failure.__cause__
    return torch.stack([row for row, _ in each]), torch.stack([value for _, value in each])


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

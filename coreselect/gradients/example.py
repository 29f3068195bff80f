"""The row of every single example of a batch: at once by `torch.func.vmap`, or one by one where the model does not allow that.

Recurrent layers, writes into fresh tensors, `.item()`, branches on values, copies in channels_last and hooks on saved tensors
cannot be vectorised. `ExampleRows` finds out on the first batch: it compares the first row with the one that plain autograd
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
    """Compute rows of single examples, and remember whether the model can be vectorised.

    Args:
        note: called once with a sentence if rows are computed one by one.
    """

    def __init__(self, net: Network, layout: Layout, loss: Loss, note: Callable[[str], None]) -> None:
        self._net, self._layout, self._loss, self._note = net, layout, loss, note
        self._at_once: bool | None = None  # None: not known yet

    def __call__(self, prepared: Mapping[Stream, Any], labels: Any) -> tuple[Tensor, Tensor]:
        """Compute the rows [B, P] and the losses [B]; arguments as for `example_rows`."""
        if self._at_once is None:
            return self._first(prepared, labels)
        settings = (self._net, self._layout, self._loss)
        if not self._at_once:
            return rows_one_by_one(*settings, prepared, labels)
        try:
            return example_rows(*settings, prepared, labels)
        except Exception:  # of the loss or the model, on these examples
            return rows_one_by_one(*settings, prepared, labels)  # raises what names the example, if it fails too

    def _first(self, prepared: Mapping[Stream, Any], labels: Any) -> tuple[Tensor, Tensor]:
        """Compute the rows of the first batch, at once if that is possible and exact."""
        settings = (self._net, self._layout, self._loss)
        first = {s: taken(z, slice(0, 1)) for s, z in prepared.items()}
        want, _ = group_row(*settings, first, taken(labels, slice(0, 1)))
        try:
            rows, losses = example_rows(*settings, prepared, labels)
            off = float((rows[0] - want).abs().max())
            tolerance = 8 * torch.finfo(want.dtype).eps ** 0.5 * float(want.abs().max())
            self._at_once = not off > tolerance or not bool(torch.isfinite(want).all())
            if self._at_once:
                return rows, losses
            why = f"vectorised rows are off by {off:.2g}"
        except Exception as error:  # what a model does inside vmap may raise anything
            self._at_once = False
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        self._note(f"rows of single examples were computed one by one, because the model cannot be vectorised ({why})")
        return rows_one_by_one(*settings, prepared, labels)


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

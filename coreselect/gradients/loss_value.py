"""The value of a loss, from the outputs of its streams; a loss that fails says on which examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.errors import CoreselectError, ShapeError, first_few
from coreselect.protocols import Loss, Stream, Views
from coreselect.support.structure import taken


class LossFailure(ShapeError):
    """A loss that raised on a batch; `places` are the examples of the batch on which it raises alone, too."""

    def __init__(self, name: str, places: NDArray[np.int64], said: str) -> None:
        super().__init__(f"the loss {name!r} fails ({said}) on the examples at places {first_few(places.tolist())}.")
        self.name, self.places, self.said = name, places, said

    def named(self, names: NDArray[np.int64], where: str) -> ShapeError:
        """Return the error with the names int64 [B] of the examples in place of their places, and the dataset's name."""
        bad = names[self.places].tolist()
        return ShapeError(
            f"the loss {self.name!r} fails on {len(bad)} {where} example{'s' if len(bad) > 1 else ''} (positions "
            f"{first_few(sorted(bad))}; {self.said}): correct their targets, or leave them out."
        )


@contextmanager
def naming(names: NDArray[np.int64], where: str = "pool") -> Iterator[None]:
    """Name the examples of a batch, int64 [B], if a loss fails on them inside the block.

    Raises:
        ShapeError: a loss raised.
    """
    try:
        yield
    except LossFailure as failure:
        raise failure.named(names, where) from failure.__cause__


def loss_value(loss: Loss, outputs: Mapping[Stream, Tensor], labels: Any) -> Tensor:
    """Compute the loss from the outputs [B, C] of each (route, view): [B] for a per-example loss, else a scalar.

    Args:
        labels: the targets as the loss reads them, [B, …], or None for a loss without labels.
    """
    return loss(_outputs_of(outputs, "adversarial"), _outputs_of(outputs, "natural"), labels)


def checked_loss_value(loss: Loss, outputs: Mapping[Stream, Tensor], labels: Any) -> Tensor:
    """Compute what `loss_value` computes, outside of function transforms.

    Raises:
        LossFailure: the loss raised, as an own cross-entropy does for a label without an output.
    """
    try:
        return loss_value(loss, outputs, labels)
    except (CoreselectError, MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as why:  # code of the user, which may raise anything
        said = f"{type(why).__name__}: {' '.join(str(why).split())[:160]}"
        raise LossFailure(loss.name, _failing(loss, outputs, labels), said) from why


def _failing(loss: Loss, outputs: Mapping[Stream, Tensor], labels: Any) -> NDArray[np.int64]:
    """Return the places of the examples on which the loss fails alone; all places if there are none."""
    size = len(next(iter(outputs.values())))
    bad: list[int] = []
    for i in range(size):
        one = slice(i, i + 1)
        try:
            loss_value(loss, {s: o[one] for s, o in outputs.items()}, taken(labels, one))
        except Exception:
            bad.append(i)
    return np.array(bad or range(size), dtype=np.int64)


def _outputs_of(outputs: Mapping[Stream, Tensor], route: str) -> Views:
    """Return the outputs of one route, in the order of the views."""
    return tuple(outputs[stream] for stream in sorted(outputs) if stream[0] == route)

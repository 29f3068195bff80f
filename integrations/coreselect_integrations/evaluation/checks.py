"""What an evaluation checks in each batch: logits of two or more classes that are finite, and labels that are class numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from coreselect.errors import DataError, NonFiniteError, ShapeError, first_few
from coreselect.gradients.inputs import refuse_labels

ONE_LOGIT = "call=lambda m, x, route: torch.cat([0 * m(x), m(x)], 1)"


def check_logits(out: Any, n: int) -> Tensor:
    """Return logits [n, classes].

    Raises:
        ShapeError: they are no such tensor, or have one class, which would be the answer for every input.
    """
    if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != n:
        form = list(out.shape) if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise ShapeError(f"an evaluation needs logits [{n}, classes], got {form}: give call=lambda m, x, route: ….")
    if out.shape[1] == 1:
        raise ShapeError(
            f"logits of at least 2 classes are needed, got 1, with which class 0 wins for every input: give {ONE_LOGIT}."
        )
    return out


def check_finite(finite: Tensor, positions: Tensor, what: str) -> None:
    """Check that every example has finite outputs.

    Args:
        finite: bool [B].
        positions: int64 [B], the examples' positions in the data.
        what: of which inputs the outputs are, for the message.
    Raises:
        NonFiniteError: some have not; `indices` are their positions.
    """
    if not bool(finite.all()):
        bad = positions[~finite.to(positions.device)].tolist()
        raise NonFiniteError(
            f"outputs at {len(bad)} {what} hold NaN or infinity (positions {first_few(bad)}), and have no class: check whether "
            "the model has diverged, or evaluate in a higher precision.",
            bad,
        )


def class_numbers(y: Any, start: int, n: int, classes: int, where: str = "evaluation") -> Tensor:
    """Return labels as class numbers, int64 [n].

    Args:
        start: the position of the first one in the data.
        n, classes: the shape of the logits.
        where: the data that a message names.
    Raises:
        ShapeError: there is not one label for each input (one-hot), or a label is outside 0…classes − 1.
        DataError: labels are fractions.
    """
    y = torch.as_tensor(y)
    if y.numel() != n:
        raise ShapeError(
            f"{where} labels are {list(y.shape)} for {n} inputs, one class number for each is needed: "
            "for one-hot labels give unpack=lambda batch: (batch[0], batch[1].argmax(1))."
        )
    if y.is_floating_point() and not torch.equal(y, y.round()):
        raise DataError(f"{where} labels are fractions, not class numbers: choose the class with unpack=.")
    y = y.reshape(-1).long()
    refuse_labels(np.arange(start, start + n), y, classes, where)
    return y

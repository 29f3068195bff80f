"""Labels that a dataset lists: their range, why there are none, and whether its items carry the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Subset

from coreselect.errors import DataError

LABEL_KEYS = ("label", "labels", "y", "target", "targets")
SPARSE_FROM = 1 << 16  # class numbers below this cost at most half a megabyte, even if only few of them occur


class SparseLabelsError(DataError):
    """Class numbers that skip most values."""


def refuse_sparse(labels: NDArray[Any], name: str) -> None:
    """Refuse class numbers that skip most values; tables of classes would need memory for all of them.

    Numbers below 65,536 are accepted: a part of a large dataset has few of its classes.

    Args:
        labels: integers [N].
        name: whose labels they are, in messages.
    Raises:
        SparseLabelsError: the largest label is at least 65,536 and fewer than half of the numbers up to it occur.
    """
    most = int(labels.max()) + 1 if len(labels) else 0
    if most <= SPARSE_FROM:
        return
    distinct = len(np.unique(labels))
    if 2 * distinct < most:
        raise SparseLabelsError(
            f"{name} has labels up to {most - 1:,} and only {distinct:,} different ones: number the classes "
            f"0…{distinct - 1:,} (labels that begin at 1 are one too high), as np.unique(labels, return_inverse=True)[1] does."
        )


def one_based(labels: NDArray[Any], classes: int) -> str:
    """Return a hint for messages if the labels look like 1…C instead of 0…C − 1, else nothing."""
    if len(labels) and int(labels.min()) >= 1 and int(labels.max()) == classes:
        return f" (they look as if they begin at 1: subtract 1 for 0…{classes - 1})"
    return ""


def why_unlabelled(dataset: Any) -> str:
    """Return in brackets why a dataset has no labels, to put into a message; nothing where it does not say."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    said = getattr(dataset, "unlabelled", "")
    return f" ({said})" if isinstance(said, str) and said else ""


def with_label(item: Any, label: int) -> Any:
    """Return an item with another label: (x, label), or a mapping with it under the name of its own, or `label`."""
    if isinstance(item, Mapping):
        return {**item, next((key for key in LABEL_KEYS if key in item), LABEL_KEYS[0]): label}
    return (item[0] if isinstance(item, tuple | list) else item), label


def label_of_item(item: Any) -> int | None:
    """Return the class number of one item, (x, y, …) or a mapping with usual names; None if it has no whole number."""
    label: Any = None
    if isinstance(item, Mapping):
        label = next((item[key] for key in LABEL_KEYS if key in item), None)
    elif isinstance(item, Sequence) and not isinstance(item, str | bytes) and len(item) > 1:
        label = item[1]
    if isinstance(label, Tensor | np.ndarray | np.generic):
        label = label.item() if prod(label.shape) == 1 else None
    return int(label) if isinstance(label, int | float) and float(label).is_integer() else None

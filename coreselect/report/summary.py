"""The facts that a table or picture of a selection shows: its pool, gains by group and classes, from the selection alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Subset

from coreselect.errors import IndexFileError, ShapeError
from coreselect.io.fingerprint import fingerprint
from coreselect.types import Float64, Int64, Selection


@dataclass(frozen=True, slots=True, eq=False)
class Balance:
    """Class counts of the picks and of the pool, one entry per class.

    Attributes:
        names: C names.
        chosen, pool: int64 [C], how many examples of each class.
    """

    names: tuple[str, ...]
    chosen: Int64
    pool: Int64


def check_length(selection: Selection, n: int, where: str) -> None:
    """Raise an error if a dataset of `n` examples cannot be the one that a selection was made from.

    `source_indices` are positions in the dataset that `holdout` was given: the pool's N examples and the validation examples.

    Args:
        where: the dataset's name in the error message.
    Raises:
        IndexFileError: the length does not fit.
    """
    size, held = selection.provenance.pool_size, selection.provenance.validation_indices
    same = np.array_equal(selection.indices, selection.source_indices)
    cut = selection.provenance.command.get("conditions", {}).get("tail") is not None
    if cut or (held is None and not same):  # a pool cut from a larger dataset, of unknown length
        fits, needed = (
            n > selection.source_indices.max() and n >= size,
            f"at least {max(size, selection.source_indices.max() + 1)}",
        )
    else:
        lengths = {size + (0 if held is None else len(held)), *([size] if same else [])}
        fits, needed = n in lengths, " or ".join(str(length) for length in sorted(lengths))
    if not fits:
        raise IndexFileError(
            f"this selection was made from {needed} examples (a pool of {size}), {where} has {n}: give the dataset "
            "that it was made from, with the same rows."
        )


def pool_positions(selection: Selection, n: int) -> Int64:
    """Return the pool's positions in a dataset of `n` examples, sorted int64: all but the validation examples.

    Raises:
        IndexFileError: a pick is outside the dataset.
    """
    if selection.source_indices.max() >= n:
        raise IndexFileError(
            f"this selection picks position {selection.source_indices.max()}, and the dataset has {n} examples: "
            "give the dataset that it was made from."
        )
    held = selection.provenance.validation_indices
    inside = held is not None and n >= selection.provenance.pool_size + len(held)
    return np.setdiff1d(np.arange(n), held) if inside else np.arange(n)  # type: ignore[arg-type]  # `inside`: not None


def same_data(selection: Selection, dataset: Any) -> bool | None:
    """Return whether a dataset has the pool's fingerprint; None if the pool's order in it is unknown.

    Args:
        dataset: the dataset of `source_indices`.
    """
    pool = pool_positions(selection, len(dataset))
    known = selection.provenance.fingerprint.startswith("n:") and len(pool) == selection.provenance.pool_size
    if not known or not np.array_equal(pool[selection.indices], selection.source_indices):
        return None
    return fingerprint(Subset(dataset, pool.tolist())) == selection.provenance.fingerprint


def group_gains(selection: Selection) -> Float64:
    """Return the gain of every group (the sum over its picks) in pick order, float64 [G]."""
    _, first, member = np.unique(selection.groups, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))  # groups by their first pick
    out = np.zeros(len(first))  # [G]
    np.add.at(out, rank[member], selection.gains)
    return out


def balance(
    selection: Selection, labels: Int64, class_names: Sequence[str] | None = None, pool: Int64 | None = None
) -> Balance:
    """Count the classes of the picks and of the pool.

    Args:
        labels: int64 [n], labels of the dataset of `source_indices`.
        class_names: one per label value.
        pool: int64 [N], the labels of the pool; None: those of all but the validation examples.
    Raises:
        IndexFileError: a pick is outside `labels`.
        ShapeError: `labels` is not a vector of integers.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ShapeError(f"labels must be integers [n], got {labels.dtype} {list(labels.shape)}.")
    inside = labels[pool_positions(selection, len(labels))]
    pool = inside if pool is None else pool
    values = np.unique(labels)
    counts = [np.array([(part == v).sum() for v in values]) for part in (labels[selection.source_indices], pool)]
    words = list(class_names or [])
    known = values.min() >= 0 and values.max() < len(words)
    return Balance(tuple(words[v] if known else str(v) for v in values.tolist()), counts[0], counts[1])

"""Check the datasets and the history that a task with a model is made of."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from coreselect.data.reading import Unpack, read
from coreselect.errors import DataError, ShapeError
from coreselect.history import History
from coreselect.support.bounds import Range, range_of
from coreselect.support.seeding import rng_kept


def length_of(dataset: Any, what: str) -> int:
    """Return the length of a map-style dataset.

    Args:
        what: the dataset's name in an error message.
    Raises:
        DataError: it has no length, or is empty.
    """
    try:
        n = len(dataset)
    except TypeError as why:
        raise DataError(
            f"the {what} is a {type(dataset).__name__} without a length: give a map-style dataset."
        ) from why
    if n == 0:
        raise DataError(f"the {what} is empty.")
    return n


@dataclass(frozen=True)
class FirstItem:
    """What the first item of a dataset shows: whether it carries a label, and the range of its input.

    The range is None for integers, and for values that are not finite, which other checks name better.
    """

    labelled: bool
    range: Range | None


def first_item(dataset: Any, unpack: Unpack) -> FirstItem:
    """Read the first item of a dataset; no global random state moves."""
    with rng_kept():
        _, x, y = next(read(dataset, [np.zeros(1, np.int64)], seed=0, path=("labels",), unpack=unpack))
        seen = range_of(x) if isinstance(x, Tensor) and x.is_floating_point() else None
        return FirstItem(y is not None, seen if seen is not None and np.isfinite(seen).all() else None)


def check_history(history: History | None, n: int) -> History | None:
    """Return the history.

    Raises:
        ShapeError: it is about a pool of another size.
    """
    if history is not None and history.n != n:
        raise ShapeError(
            f"the history is about {history.n} examples and the pool has {n}: make it with History(len(pool))."
        )
    return history

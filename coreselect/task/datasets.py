"""Check the length of the datasets, and the history, that a task with a model is made of."""

from typing import Any

import numpy as np

from coreselect.data.items import refuse_stream
from coreselect.data.reading import Unpack, read
from coreselect.errors import DataError, ShapeError
from coreselect.history import History
from coreselect.support.bounds import Range, known_range
from coreselect.support.seeding import rng_kept


def length_of(dataset: Any, what: str) -> int:
    """Return the length of a map-style dataset.

    Args:
        what: the dataset's name in an error message.
    Raises:
        DataError: it is a stream, has no length, or is empty.
    """
    refuse_stream(dataset, what)
    try:
        n = len(dataset)
    except TypeError as why:
        raise DataError(
            f"the {what} is a {type(dataset).__name__} without a length: give a map-style dataset."
        ) from why
    if n == 0:
        raise DataError(f"the {what} is empty.")
    return n


def first_range(dataset: Any, unpack: Unpack) -> Range | None:
    """Return the known range of the first input of a dataset; no global random state moves."""
    with rng_kept():
        _, x, _ = next(read(dataset, [np.zeros(1, np.int64)], seed=0, path=("labels",), unpack=unpack, raw=True))
        return known_range(x)


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

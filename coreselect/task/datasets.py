"""Check the datasets and the history that a task with a model is made of."""

from typing import Any

import numpy as np

from coreselect.data.reading import Unpack, read
from coreselect.errors import DataError, ShapeError
from coreselect.history import History
from coreselect.protocols import Loss
from coreselect.support.seeding import rng_kept
from coreselect.task.targets import Targets, kind_of


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


def targets_of(dataset: Any, unpack: Unpack, loss: Loss) -> Targets | None:
    """Say what targets the first item carries, None if it has none; no global random state moves."""
    with rng_kept():
        _, _, y = next(read(dataset, [np.zeros(1, np.int64)], seed=0, path=("labels",), unpack=unpack, raw=True))
        return kind_of(y, loss)


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

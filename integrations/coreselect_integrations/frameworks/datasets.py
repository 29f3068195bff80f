"""Hugging Face `datasets`: a selection as a dataset, with a column of weights.

chosen = with_weights(selection, dataset)      # selection.subset(dataset), and a column "weight"
"""

from typing import Any

import numpy as np
from datasets import Dataset
from torch.utils.data import Subset

from coreselect import Selection
from coreselect.data.subsets import origin
from coreselect.errors import DataError


def with_weights(selection: Selection, dataset: Dataset | Subset[Any], column: str = "weight") -> Any:
    """Return the chosen rows in pick order, with the factors of their losses in a column, float32, mean 1.

    Args:
        selection: from a pool of the dataset's length and order.
        dataset: the pool, or the part of one that `coreselect.holdout` returns.
        column: a name that the dataset does not have; 1 for methods without weights.
    Raises:
        DataError: the dataset has that column.
        IndexFileError: its length is not that of the pool.
    """
    table, positions = origin(dataset)
    if column in table.column_names:
        raise DataError(f"the dataset has a column {column!r} already: give with_weights(column=...) another name.")
    pool = dataset if table is dataset else table.select(positions)
    chosen: Any = selection.subset(pool)
    w = np.ones(len(selection)) if selection.weights is None else selection.weights / selection.weights.mean()
    return chosen.add_column(column, w.astype(np.float32))

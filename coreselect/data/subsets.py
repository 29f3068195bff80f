"""Subsets that remember where they came from: holdout, source positions, disjointness, and indexed items."""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Subset

from coreselect.budget import Budget, resolve
from coreselect.errors import BudgetError, OverlapError, first_few
from coreselect.support.seeding import generator


class MapStyle(Protocol):
    """A dataset with a length and items by position."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def holdout(dataset: Any, size: Budget = 0.01, seed: int = 0) -> tuple[Subset[Any], Subset[Any]]:
    """Split a map-style dataset into (pool, validation), disjoint, both in the dataset's order.

    Args:
        dataset: N items.
        size: how many to hold out: a count in 1…N−1 or a fraction in (0, 1).
        seed: of the draw, which moves no global random state.
    Returns:
        Two `torch.utils.data.Subset`s; `selection.source_indices` are positions in `dataset`.
    Raises:
        BudgetError: nothing would be left of either side.
    """
    n = len(dataset)
    k = resolve(size, n)
    if k == n:
        raise BudgetError(f"holding out {k} of {n} examples leaves no pool; hold out fewer.")
    order = torch.randperm(n, generator=generator(seed, "holdout")).numpy()
    return Subset(dataset, np.sort(order[k:]).tolist()), Subset(dataset, np.sort(order[:k]).tolist())


def origin(dataset: Any) -> tuple[Any, NDArray[np.int64]]:
    """Follow nested Subsets to the dataset they came from: (root, positions in it)."""
    indices = np.arange(len(dataset), dtype=np.int64)
    while isinstance(dataset, Subset):
        indices = np.asarray(dataset.indices, dtype=np.int64)[indices]
        dataset = dataset.dataset
    return dataset, indices


def provably_disjoint(pool: Any, validation: Any) -> bool:
    """Return whether indices prove that the two share no item; False: nothing is proved (other roots).

    Raises:
        OverlapError: both come from one dataset and share positions of it.
    """
    (a, ours), (b, theirs) = origin(pool), origin(validation)
    if a is not b:
        return False
    both = np.intersect1d(ours, theirs)
    if len(both):
        raise OverlapError(
            f"{len(both)} validation examples are also in the pool (positions {first_few(both.tolist())} of their dataset): "
            "split with coreselect.holdout."
        )
    return True


class Indexed(Dataset[Any]):
    """Yield every item with its position: (x, y) → (x, y, i), anything else → (item, i)."""

    def __init__(self, dataset: MapStyle) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        item = self.dataset[index]
        return (*item, index) if isinstance(item, tuple) else (item, index)

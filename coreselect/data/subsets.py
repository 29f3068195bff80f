"""Subsets that know their dataset: `holdout`, source positions, disjointness, and items with their index."""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Subset

from coreselect.budget import Budget, resolve
from coreselect.errors import BudgetError, OverlapError, first_few
from coreselect.support.seeding import generator


class MapStyle(Protocol):
    """A dataset with a length, whose items are read by position."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def holdout(dataset: Any, size: Budget = 0.01, seed: int = 0) -> tuple[Subset[Any], Subset[Any]]:
    """Split a map-style dataset into (pool, validation), disjoint, both in the dataset's order.

    Args:
        dataset: N items.
        size: how many items to hold out for validation: a count in 1…N−1 or a fraction in (0, 1).
        seed: decides the random draw; global random states do not change.
    Returns:
        Two `torch.utils.data.Subset`s; `selection.source_indices` are positions in `dataset`.
    Raises:
        BudgetError: the pool or the validation set would be empty.
    """
    n = len(dataset)
    k = resolve(size, n)
    if k == n:
        raise BudgetError(f"holding out {k} of {n} examples leaves no pool; hold out fewer.")
    order = torch.randperm(n, generator=generator(seed, "holdout")).numpy()
    return Subset(dataset, np.sort(order[k:]).tolist()), Subset(dataset, np.sort(order[:k]).tolist())


def origin(dataset: Any) -> tuple[Any, NDArray[np.int64]]:
    """Return the dataset that nested Subsets come from, and the positions int64 [N] of their items in it."""
    indices = np.arange(len(dataset), dtype=np.int64)
    while isinstance(dataset, Subset):
        indices = np.asarray(dataset.indices, dtype=np.int64)[indices]
        dataset = dataset.dataset
    return dataset, indices


def provably_disjoint(pool: Any, validation: Any) -> bool:
    """Return True if the indices prove that both share no item, and False if they come from different datasets.

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
    """A dataset whose items carry their position i: (x, y) becomes (x, y, i), any other item becomes (item, i)."""

    def __init__(self, dataset: MapStyle) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        item = self.dataset[index]
        return (*item, index) if isinstance(item, tuple) else (item, index)

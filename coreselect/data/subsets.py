"""Subsets that know their dataset: `holdout`, source positions, disjointness, and items with their index."""

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Subset

from coreselect.budget import Budget, resolve
from coreselect.data.items import refuse_stream
from coreselect.errors import BudgetError, DataError, OverlapError, RequirementError, first_few
from coreselect.support.devices import host_array
from coreselect.support.seeding import generator
from coreselect.support.type_checks import whole


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
        DataError: the dataset has no items by position, or is a Subset with a wrong or repeated position.
        RequirementError: the seed is no whole number from 0 on.
    """
    seed = whole("seed", seed, RequirementError)
    refuse_stream(dataset, "dataset")
    refuse_positions(dataset, "dataset")
    n = len(dataset)
    k = resolve(size, n)
    if k == n:
        raise BudgetError(f"holding out {k} of {n} examples leaves no pool; hold out fewer.")
    order = torch.randperm(n, generator=generator(seed, "holdout")).numpy()
    return Subset(dataset, np.sort(order[k:]).tolist()), Subset(dataset, np.sort(order[:k]).tolist())


class Taken(Dataset[Any]):
    """A dataset whose items are made from those of another one: `taken_from` is that dataset and the positions int64 [n] in it,
    each at most once; None if the items do not come from it one by one.
    """

    taken_from: tuple[Any, NDArray[np.int64]] | None = None


def origin(dataset: Any) -> tuple[Any, NDArray[np.int64]]:
    """Return the dataset that nested Subsets (or `Taken`) come from, and the positions int64 [N] of their items in it."""
    indices = np.arange(len(dataset), dtype=np.int64)
    while True:
        if isinstance(dataset, Subset):
            dataset, inside = dataset.dataset, host_array(dataset.indices).astype(np.int64)
        elif isinstance(dataset, Taken) and dataset.taken_from is not None:
            dataset, inside = dataset.taken_from
        else:
            return dataset, indices
        indices = inside[indices]


def refuse_positions(dataset: Any, what: str) -> None:
    """Refuse a Subset, or a Subset of Subsets, whose positions are not different ones of its dataset.

    Args:
        what: the dataset's name in messages.
    Raises:
        DataError: positions are negative, too large, repeated, or no integers.
    """
    while isinstance(dataset, Subset):
        n = len(dataset.dataset)  # type: ignore[arg-type]  # map-style
        try:
            found = host_array(dataset.indices)
        except (ValueError, TypeError):
            found = np.empty(0, object)
        if found.ndim != 1 or (found.dtype.kind not in "iu" and len(found)):
            raise DataError(f"the {what} is a Subset whose indices are no list of integers: give positions 0…{n - 1}.")
        found = found.astype(np.int64)
        outside = found[(found < 0) | (found >= n)]
        if len(outside):
            raise DataError(
                f"the {what} is a Subset with the positions {first_few(outside.tolist())}, its dataset has 0…{n - 1}: "
                "count from the beginning, for example with range(n)[i] in place of i."
            )
        times = np.bincount(found, minlength=1)
        if int(times.max()) > 1:
            twice = np.flatnonzero(times > 1)
            raise DataError(
                f"the {what} is a Subset that holds {len(twice)} positions more than once ({first_few(twice.tolist())}): "
                "keep each once, for example with numpy.unique."
            )
        dataset = dataset.dataset


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
    """A dataset whose items carry their position i: (x, y) becomes (x, y, i), any other item becomes (item, i).

    Raises:
        DataError: the dataset is a stream, whose items have no positions.
    """

    def __init__(self, dataset: MapStyle) -> None:
        refuse_stream(dataset, "dataset")
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        item = self.dataset[index]
        return (*item, index) if isinstance(item, tuple) else (item, index)

"""Deal the pool into candidate groups: sizes differ by at most one, and each group can be balanced over strata.

With strata, each stratum's shuffled members are dealt round-robin, so every group holds ⌊·⌋ or ⌈·⌉ of its even share; inside a
group the members stand so that any prefix is as balanced as it can be, and a trimmed group stays balanced.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from coreselect.types import Int64


def default_size(budget: int, *, batch_loss: bool) -> int:
    """Return min(64, budget // 8), at least 2 (at least 16 for batch losses): eight picks or more where that is possible."""
    return max(16 if batch_loss else 2, min(64, budget // 8))


def deal(n: int, size: int, generator: torch.Generator, strata: Int64 | None = None) -> list[Int64]:
    """Deal 0…n−1 into ⌈n / size⌉ groups.

    Args:
        size: the largest group's size, 1…n.
        generator: of the shuffle.
        strata: int64 [n], a class or cluster per example; None: plain shuffled batches, as published.
    Returns:
        Groups of ⌊n/M⌋ or ⌈n/M⌉ members, together every example once.
    """
    order = torch.randperm(n, generator=generator).numpy()
    count = -(-n // size)
    if strata is not None:
        order = order[np.argsort(strata[order], kind="stable")]
    groups = [order[m::count] for m in range(count)]
    return groups if strata is None else [_interleave(g, strata) for g in groups]


def _interleave(group: NDArray[np.int64], strata: Int64) -> Int64:
    """Order a group so that prefixes are balanced: the j-th of c members of a stratum stands at (j + ½) / c."""
    of = strata[group]
    _, inverse, counts = np.unique(of, return_inverse=True, return_counts=True)
    seen = np.zeros(len(counts), np.int64)
    place = np.empty(len(group))
    for i, s in enumerate(inverse):
        place[i] = (seen[s] + 0.5) / counts[s]
        seen[s] += 1
    return group[np.argsort(place, kind="stable")]

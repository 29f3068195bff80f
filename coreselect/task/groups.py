"""Deal the pool into candidate groups whose sizes differ by at most one, balanced over strata if there are any.

With strata, the shuffled members of each stratum are dealt round-robin, so every group gets its even share of the stratum,
rounded down or up. Inside a group the members are ordered so that every prefix is as balanced as possible; a group that is
trimmed to the budget stays balanced.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from coreselect.types import Int64


def default_size(budget: int, *, batch_loss: bool) -> int:
    """Return min(64, budget // 8), but at least 2 (16 for batch losses): at least eight picks if the budget allows it."""
    return max(16 if batch_loss else 2, min(64, budget // 8))


def sizes_of_deal(n: int, size: int) -> tuple[int, int]:
    """Return the size of the smallest and of the largest group that `deal` makes."""
    count = -(-n // min(n, size))
    return n // count, -(-n // count)


def deal(n: int, size: int, generator: torch.Generator, strata: Int64 | None = None) -> list[Int64]:
    """Deal 0…n−1 into ⌈n / size⌉ groups.

    Args:
        size: size of the largest group, 1…n.
        generator: for the shuffle.
        strata: int64 [n], a class or cluster per example; None: plain shuffled batches, as published.
    Returns:
        Groups of ⌊n/M⌋ or ⌈n/M⌉ members; every example is in exactly one.
    """
    order = torch.randperm(n, generator=generator).numpy()
    count = -(-n // size)
    if strata is not None:
        order = order[np.argsort(strata[order], kind="stable")]
    groups = [order[m::count] for m in range(count)]
    return groups if strata is None else [_interleave(g, strata) for g in groups]


def _interleave(group: NDArray[np.int64], strata: Int64) -> Int64:
    """Order a group so that prefixes are balanced: the j-th of c members of a stratum goes to place (j + ½) / c.

    The members of each stratum come one after the other.
    """
    _, first, counts = np.unique(strata[group], return_index=True, return_counts=True)
    j = np.arange(len(group)) - np.repeat(first, counts)
    return group[np.argsort((j + 0.5) / np.repeat(counts, counts), kind="stable")]

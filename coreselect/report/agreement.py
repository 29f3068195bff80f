"""How far selections of one pool agree: in what they picked, against chance, and in the order of the picks they share.

Of picks A and B from a pool of N, with C = |A ∩ B|:

    Jaccard  J = C / (|A| + |B| − C)
    chance   C ~ Hypergeometric(N, |A|, |B|):  E C = |A||B| / N,  Var C = |A||B|(N − |A|)(N − |B|) / (N²(N − 1))

Chance is B drawn uniformly from the pool, whatever A is. Two selections that both fill every class to a quota share
more than that without agreeing about anything else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from coreselect.errors import IndexFileError
from coreselect.types import Int64, Selection


@dataclass(frozen=True, slots=True)
class Overlap:
    """How many picks two selections share, beside what uniform draws of the same sizes would.

    Attributes:
        common: C.
        first_in_second, second_in_first: C / |A| and C / |B|; by chance |B| / N and |A| / N.
        jaccard: J.
        chance_common, chance_spread, chance_jaccard: E C, the standard deviation of C, and E J.
        deviations: (C − E C) / spread, or None where chance leaves no room: one of the two is the whole pool.
    """

    common: int
    first_in_second: float
    second_in_first: float
    jaccard: float
    chance_first_in_second: float
    chance_second_in_first: float
    chance_jaccard: float
    chance_common: float
    chance_spread: float
    deviations: float | None


@dataclass(frozen=True, slots=True)
class Concordance:
    """Rank correlations of two orders over the picks that both have, in [−1, 1].

    Attributes:
        picks: m, how many picks that is.
        spearman, kendall: ρ and τ_b, or None: fewer than 3 picks, or one group that holds them all.
        spearman_spread, kendall_spread: standard deviations of ρ and τ about 0 under random order without ties,
            1/√(m − 1) and √(2(2m + 5) / (9m(m − 1))), or None.
    """

    picks: int
    spearman: float | None
    kendall: float | None
    spearman_spread: float | None
    kendall_spread: float | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two of several selections, by their positions, and how far they agree."""

    first: int
    second: int
    overlap: Overlap
    order: Concordance


def check_same_pool(selections: Sequence[Selection], names: Sequence[str]) -> None:
    """Refuse selections whose picks are not positions in one and the same pool.

    Args:
        names: one per selection, for the sentence.
    Raises:
        IndexFileError: pool sizes or fingerprints differ, or equal picks are other examples of the dataset.
    """
    first, known = selections[0], selections[0].provenance
    for selection, name in zip(selections[1:], names[1:], strict=True):
        made = selection.provenance
        if made.pool_size != known.pool_size:
            got = f"a pool of {made.pool_size} examples, {names[0]} from one of {known.pool_size}"
        elif made.fingerprint != known.fingerprint:
            got = f"the pool {made.fingerprint}, {names[0]} from {known.fingerprint}"
        elif _moved(first, selection):
            got = f"the pool that other validation examples left over than those of {names[0]}"
        else:
            continue
        raise IndexFileError(
            f"{name} was made from {got}: picks compare within one pool, so select both from the same data, rows and "
            "validation split."
        )


def overlap(first: Int64, second: Int64, pool_size: int) -> Overlap:
    """Return what two sets of picks share and what chance would give.

    Args:
        first, second: int64 [a] and [b], unique positions in 0…N−1, a, b ≥ 1.
        pool_size: N.
    """
    from scipy.stats import hypergeom  # a second of import time

    a, b, n = len(first), len(second), pool_size
    common = len(np.intersect1d(first, second, assume_unique=True))
    mean = a * b / n
    spread = math.sqrt(a * b * (n - a) * (n - b) / (n * n * (n - 1))) if n > 1 else 0.0
    counts = np.arange(max(0, a + b - n), min(a, b) + 1)  # [·], the values that C can take
    odds = hypergeom.pmf(counts, n, a, b)
    return Overlap(
        common=common,
        first_in_second=common / a,
        second_in_first=common / b,
        jaccard=common / (a + b - common),
        chance_first_in_second=b / n,
        chance_second_in_first=a / n,
        chance_jaccard=float(odds @ (counts / (a + b - counts))),
        chance_common=mean,
        chance_spread=spread,
        deviations=(common - mean) / spread if spread > 0 else None,
    )


def concordance(first: Selection, second: Selection) -> Concordance:
    """Return how far two selections put the picks that both have into the same order.

    A pick's place is that of its group, in the order of the groups' first picks: what came in one step shares a place,
    and ties count as ties do (average ranks for ρ, τ_b for τ).
    """
    from scipy.stats import kendalltau, spearmanr

    _, here, there = np.intersect1d(first.indices, second.indices, assume_unique=True, return_indices=True)
    x, y = _places(first.groups)[here], _places(second.groups)[there]  # [m]
    m = len(x)
    if m < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Concordance(m, None, None, None, None)
    rho: Any = spearmanr(x, y)  # scipy's result types are not known to type checkers
    tau: Any = kendalltau(x, y)
    spreads = 1 / math.sqrt(m - 1), math.sqrt(2 * (2 * m + 5) / (9 * m * (m - 1)))
    return Concordance(m, float(rho.statistic), float(tau.statistic), *spreads)


def pairs(selections: Sequence[Selection]) -> tuple[Pair, ...]:
    """Return every two of several selections of one pool, in the order (0, 1), (0, 2), …, (1, 2), …."""
    return tuple(
        Pair(
            i,
            j,
            overlap(selections[i].indices, selections[j].indices, selections[i].provenance.pool_size),
            concordance(selections[i], selections[j]),
        )
        for i, j in combinations(range(len(selections)), 2)
    )


def _places(groups: Int64) -> Int64:
    """The place of each pick's group, groups counted from 0 in the order of their first picks."""
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[member]


def _moved(first: Selection, second: Selection) -> bool:
    """Whether both were held out from a dataset and a position in the pool is another example in each."""
    if any(np.array_equal(s.indices, s.source_indices) for s in (first, second)):
        return False  # one of them knows the pool alone
    _, here, there = np.intersect1d(first.indices, second.indices, assume_unique=True, return_indices=True)
    return not np.array_equal(first.source_indices[here], second.source_indices[there])

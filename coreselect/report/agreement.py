"""How far selections of one pool agree: in their picks, compared with chance, and in the order of the picks they share.

For picks A and B from a pool of N, with C = |A ∩ B|:

    Jaccard  J = C / (|A| + |B| − C)
    chance   C ~ Hypergeometric(N, |A|, |B|):  E C = |A||B| / N,  Var C = |A||B|(N − |A|)(N − |B|) / (N²(N − 1))

Chance means that B is drawn uniformly from the pool, independently of A. Two selections that both give every class its share
have more picks in common than that, even if they agree in nothing else.
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
    """How many picks two selections share, and how many uniform draws of the same sizes would share.

    Attributes:
        common: C.
        first_in_second, second_in_first: C / |A| and C / |B|; by chance |B| / N and |A| / N.
        jaccard: J.
        chance_common, chance_spread, chance_jaccard: E C, the standard deviation of C, and E J.
        deviations: (C − E C) / spread, or None if the spread is 0 because one of the two is the whole pool.
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
    """Rank correlations of two pick orders over the picks that both have, in [−1, 1].

    Attributes:
        picks: m, how many picks both have.
        spearman, kendall: ρ and τ_b; None with fewer than 3 picks, or if one group holds them all.
        spearman_spread, kendall_spread: standard deviations of ρ and τ for random orders without ties,
            1/√(m − 1) and √(2(2m + 5) / (9m(m − 1))), or None.
    """

    picks: int
    spearman: float | None
    kendall: float | None
    spearman_spread: float | None
    kendall_spread: float | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two of several selections, by their numbers, and how far they agree."""

    first: int
    second: int
    overlap: Overlap
    order: Concordance


def check_same_pool(selections: Sequence[Selection], names: Sequence[str]) -> None:
    """Raise an error if selections were made from different pools.

    Args:
        names: one per selection, for the error message.
    Raises:
        IndexFileError: pool sizes or fingerprints differ, or equal positions are different examples of the dataset.
    """
    first, known = selections[0], selections[0].provenance
    for selection, name in zip(selections[1:], names[1:], strict=True):
        made = selection.provenance
        if made.pool_size != known.pool_size:
            got = f"a pool of {made.pool_size} examples, {names[0]} from one of {known.pool_size}"
        elif made.fingerprint != known.fingerprint:
            got = f"the pool {made.fingerprint}, {names[0]} from {known.fingerprint}"
        elif _different_examples(first, selection):
            got = f"a pool without other validation examples than that of {names[0]}"
        else:
            continue
        raise IndexFileError(
            f"{name} was made from {got}: only selections of one pool can be compared, so select both from the same data, rows "
            "and validation split."
        )


def overlap(first: Int64, second: Int64, pool_size: int) -> Overlap:
    """Return what two sets of picks share, and what they would share by chance.

    Args:
        first, second: int64 [a] and [b], unique positions in 0…N−1, a, b ≥ 1.
        pool_size: N.
    """
    from scipy.stats import hypergeom  # takes a second to import

    a, b, n = len(first), len(second), pool_size
    common = len(np.intersect1d(first, second, assume_unique=True))
    mean = a * b / n
    spread = math.sqrt(a * b * (n - a) * (n - b) / (n * n * (n - 1))) if n > 1 else 0.0
    counts = np.arange(max(0, a + b - n), min(a, b) + 1)  # all values that C can take
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
    """Return how far two selections have the picks that they share in the same order.

    A pick's place is that of its group, in the order of the groups' first picks. Picks of one step have the same place; such
    ties are treated as usual (average ranks for ρ, τ_b for τ).
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
    """Return all pairs of several selections of one pool, in the order (0, 1), (0, 2), …, (1, 2), …."""
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
    """Return the place of each pick's group; groups are counted from 0 in the order of their first picks."""
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[member]


def _different_examples(first: Selection, second: Selection) -> bool:
    """Return whether a position in the pool means different examples of the dataset for the two selections."""
    if any(np.array_equal(s.indices, s.source_indices) for s in (first, second)):
        return False  # one of them records no larger dataset
    _, here, there = np.intersect1d(first.indices, second.indices, assume_unique=True, return_indices=True)
    return not np.array_equal(first.source_indices[here], second.source_indices[there])

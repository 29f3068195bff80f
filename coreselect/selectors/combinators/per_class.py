"""Run any selector class by class, or cluster by cluster, with the shares of the pool, equal shares or given ones.

    Σ_s q_s = k;   pool: q_s = k·n_s/N;   equal: q_s = min(n_s, r), r so that they sum to k

A class gets q_s picks, rounded. With a selector that renews, the picks that rounding leaves over go round, so that over the
rounds each class gets exactly q_s, also where that is less than one (`coreselect.support.turns`). In an unbalanced pool equal
shares re-balance what is trained on: with `RS2` this is a class-balanced re-draw of every epoch, without repetition inside a
class until the class is used up.
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from typing import Literal

import numpy as np
import torch

from coreselect.budget import Budget, levels, resolve
from coreselect.errors import ShapeError
from coreselect.planning.derived import of_parts
from coreselect.planning.needs import NaturalPass, Need, OwnWork, Sizes
from coreselect.protocols import Selector, TaskLike
from coreselect.selectors.combinators.merge import Part, merge
from coreselect.support.turns import Turns, turns
from coreselect.support.type_checks import whole
from coreselect.task.snapshot import Snapshot
from coreselect.task.stratification import CLUSTERS, strata_needs, strata_of
from coreselect.types import OVER_ROUNDS, Int64, Selection


@dataclass(frozen=True)
class PerClass:
    """Choose with `selector` inside each class or cluster; there are exactly k picks.

    Args:
        selector: any selector; it sees one class at a time as its pool.
        by: `"labels"`, or `"clusters"`: k-means clusters of the network's natural features, without labels. A selector that
            renews every epoch keeps its clusters for a round of `CoresetSampler`.
        shares: `"pool"`: the classes keep their shares of the pool; `"equal"`; or one number ≥ 0 for each class that occurs, in
            ascending order, relative to each other. Classes that are too small give all they have, and the others give the rest.
        clusters: how many clusters, ≥ 1.
        weighted: weigh each pick by (n_s/N)·(k/k_s), its class's share of the pool ÷ its share of the picks, so that the mean loss
            of the picks stays an estimate of the pool's mean loss; over the rounds, where a class has no pick in some of them.
    """

    selector: Selector
    by: Literal["labels", "clusters"] = "labels"
    shares: Literal["pool", "equal"] | tuple[float, ...] = "pool"
    clusters: int = field(default=CLUSTERS, kw_only=True)
    weighted: bool = field(default=False, kw_only=True)
    name = "per_class"

    def __post_init__(self) -> None:
        whole("clusters", self.clusters, ShapeError, least=1)
        if self.by not in ("labels", "clusters"):
            raise ShapeError(f"by is 'labels' or 'clusters', got {self.by!r}.")
        if isinstance(self.shares, str) and self.shares not in ("pool", "equal"):
            raise ShapeError(f"shares are 'pool', 'equal' or a number for each class, got {self.shares!r}.")

    @property
    def requires(self) -> frozenset[str]:
        return self.selector.requires | {"labels" if self.by == "labels" else "features"}

    @property
    def renew(self) -> str:
        return self.selector.renew

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return what the selector needs in all classes; the whole pool counts as one where their sizes are not known yet."""
        known = list(sizes.classes) if self.by == "labels" else []
        classes = known or [sizes.n]
        shares = self._turns(sizes.k, classes).counts(0) if known else [sizes.k]
        inside = [replace(sizes, n=n, k=k, classes=(n,)) for n, k in zip(classes, shares, strict=True) if k]
        clustered = OwnWork("features", partial(strata_needs, sizes.n, self.clusters))
        clusters = (NaturalPass(sizes.n), clustered) if self.by == "clusters" else ()
        return (*clusters, *of_parts((self.selector, one) for one in inside))

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            n, k = snapshot.n, resolve(budget, snapshot.n)
            strata = self._strata(snapshot)
            members = [np.flatnonzero(strata == s) for s in np.unique(strata)]
            shares = self._turns(k, [len(m) for m in members])
            renews = self.renew != "never"
            counts = shares.counts(round if renews else 0)
            if not renews:
                self._note_lost(snapshot, k, shares, counts)
            parts: list[Part] = []
            for number, (m, own) in enumerate(zip(members, counts, strict=True)):
                if not own:
                    continue
                inside = snapshot.restrict(m, number, schedule=shares.of(number) if renews else None)
                chosen = self.selector.select(inside, own, generator=generator, round=round)
                if self.weighted:
                    weights = np.ones(own) if chosen.weights is None else chosen.weights
                    mean = float(shares.quotas[number]) if renews and shares.quotas[number] < 1 else own
                    chosen = replace(chosen, weights=weights * ((len(m) / n) * (k / mean)))
                parts.append(Part(m, chosen))
            some = self.weighted and renews and any(0 < q < 1 for q in shares.quotas)
            return merge(snapshot, self, parts, settings={OVER_ROUNDS: True} if some else None)

    def _turns(self, k: int, sizes: list[int]) -> Turns:
        """Return how many picks each class gets in each round."""
        if self.shares == "pool":
            n = sum(sizes)
            return turns(tuple(Fraction(k * size, n) for size in sizes))
        return turns(tuple(levels(k, sizes, None if self.shares == "equal" else self.shares)))

    def _note_lost(self, snapshot: Snapshot, k: int, shares: Turns, counts: list[int]) -> None:
        """Note how many classes with a share get no pick in any round."""
        lost = sum(not own and q > 0 for own, q in zip(counts, shares.quotas, strict=True))
        if lost:
            parts = ("cluster", "clusters") if self.by == "clusters" else ("class", "classes")
            snapshot.context.note(
                f"{lost} {parts[lost > 1]} {'get' if lost > 1 else 'gets'} no pick of a budget of {k}: raise it"
            )

    def _strata(self, snapshot: Snapshot) -> Int64:
        """Return the class or cluster of each example, int64 [n]."""

        def found() -> Int64:
            strata = strata_of(snapshot, self.by, self.clusters)
            assert strata is not None  # `by` names one
            return strata

        if self.by == "labels" or self.renew != "epoch":
            return found()
        return snapshot.context.keep(f"{self.clusters} clusters", snapshot.n, found)


def balanced(selector: Selector, by: str, *, weighted: bool = False) -> PerClass:
    """Return a selector with equal shares of classes or clusters, as words and options ask for it.

    Raises:
        ShapeError: `by` is neither "labels" nor "clusters".
    """
    if by not in ("labels", "clusters"):
        raise ShapeError(f"balance is 'labels' or 'clusters', got {by!r}.")
    return PerClass(selector, "labels" if by == "labels" else "clusters", "equal", weighted=weighted)

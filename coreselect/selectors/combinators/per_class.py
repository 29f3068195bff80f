"""Run any selector class by class; each class gets its share of the budget by largest remainder."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from coreselect.budget import Budget, largest_remainder, resolve
from coreselect.planning.derived import of_parts
from coreselect.planning.needs import Need, Sizes
from coreselect.protocols import Selector, TaskLike
from coreselect.selectors.combinators.merge import Part, merge
from coreselect.types import Selection


@dataclass(frozen=True)
class PerClass:
    """Choose with `selector` inside each class; the classes keep their shares of the pool, and there are exactly k picks.

    Args:
        selector: any selector; it sees one class at a time as its pool.
    """

    selector: Selector
    name = "per_class"

    @property
    def requires(self) -> frozenset[str]:
        return self.selector.requires | {"labels"}

    @property
    def renew(self) -> str:
        return self.selector.renew

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return what the selector needs in all classes; the whole pool counts as one where their sizes are not known yet."""
        classes = list(sizes.classes) or [sizes.n]
        shares = largest_remainder(sizes.k, classes)
        inside = [replace(sizes, n=n, k=k, classes=(n,)) for n, k in zip(classes, shares, strict=True) if k]
        return of_parts((self.selector, one) for one in inside)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            labels = snapshot.labels()
            members = [np.flatnonzero(labels == c) for c in np.unique(labels)]
            shares = largest_remainder(resolve(budget, snapshot.n), [len(m) for m in members])
            parts = [
                Part(m, self.selector.select(snapshot.restrict(m, number), k, generator=generator, round=round))
                for number, (m, k) in enumerate(zip(members, shares, strict=True))
                if k
            ]
            return merge(snapshot, self, parts)

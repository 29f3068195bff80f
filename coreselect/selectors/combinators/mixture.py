"""Share a budget between several selectors; each chooses from the examples that the ones before it left."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from coreselect.budget import Budget, largest_remainder, resolve
from coreselect.errors import RequirementError
from coreselect.planning.derived import of_parts
from coreselect.planning.needs import Need, Sizes
from coreselect.protocols import Selector, TaskLike
from coreselect.selectors.combinators.merge import Part, merge
from coreselect.support.requirements import refuse_no_selector
from coreselect.types import Selection

_HOW_OFTEN = {"never": 0, "round": 1, "epoch": 2}
_SCALE = 10**6  # shares are compared in millionths


@dataclass(frozen=True)
class Mixture:
    """Choose a share of the budget with each selector, in order, without overlap.

    Args:
        selectors: at least one; each sees the pool without the examples that earlier ones chose.
        shares: one positive number per selector, relative to each other; None: equal shares. Counts are rounded by largest
            remainder.
    """

    selectors: Sequence[Selector]
    shares: Sequence[float] | None = None
    name = "mixture"

    def __post_init__(self) -> None:
        for part in self.selectors:
            refuse_no_selector(part)
        shares = self._shares()
        if not self.selectors or len(shares) != len(self.selectors) or not all(0 < s < math.inf for s in shares):
            raise RequirementError(
                f"a mixture needs one positive share per selector, got {len(self.selectors)} selectors and shares {self.shares}."
            )

    @property
    def requires(self) -> frozenset[str]:
        return frozenset().union(*(s.requires for s in self.selectors))

    @property
    def renew(self) -> str:
        return max((s.renew for s in self.selectors), key=_HOW_OFTEN.__getitem__)

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return what the selectors need; each sees the examples that the ones before it left."""
        inside, left = [], sizes.n
        for selector, k in zip(self.selectors, self._counts(sizes.k), strict=True):
            if k:
                inside.append((selector, sizes.of(left, k)))
                left -= k
        return of_parts(inside)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            counts = self._counts(resolve(budget, snapshot.n))
            left = np.arange(snapshot.n, dtype=np.int64)
            parts: list[Part] = []
            for number, (selector, k) in enumerate(zip(self.selectors, counts, strict=True)):
                if not k:
                    continue
                inner = selector.select(snapshot.restrict(left, number), k, generator=generator, round=round)
                parts.append(Part(left, inner))
                left = np.setdiff1d(left, left[inner.indices])
            return merge(snapshot, self, parts)

    def _counts(self, k: int) -> list[int]:
        """Return how many picks each selector makes."""
        shares = self._shares()
        return largest_remainder(k, [max(1, int(_SCALE * s / sum(shares))) for s in shares])

    def _shares(self) -> Sequence[float]:
        return self.shares or [1.0] * len(self.selectors)

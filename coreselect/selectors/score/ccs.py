"""Coverage-centric coreset selection: Zheng, Liu, Lai, Prakash, "Coverage-centric Coreset Selection for High Pruning Rates",
ICLR 2023, Algorithm 1.

    drop the ⌊βN⌋ hardest;  cut the score range of the rest into 50 strata of equal width
    while strata are left:  B ← the smallest;  draw min(|B|, ⌊m / strata left⌋) of B uniformly;  m ← m − that number

m starts at the budget k, and exactly k examples are drawn.
"""

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError
from coreselect.planning.derived import needs_of
from coreselect.planning.needs import Need, Sizes
from coreselect.protocols import TaskLike
from coreselect.selectors.score.aum import AUM
from coreselect.selectors.score.ranking import Ranked, rank
from coreselect.support.seeding import generator as seeded
from coreselect.types import Float64, Int64, Selection


@dataclass(frozen=True)
class CCS:
    """Drop the hardest examples, then draw evenly from strata of equal score width.

    Args:
        beta: β in [0, 1), the share of the pool that is dropped as too hard; published between 0 and 0.5, tuned for each
            budget (report the value you used). If the budget needs more examples, fewer are dropped, and a note says so.
        score: a selector that ranks by a score: `AUM()` (published), `Forgetting()`, `EL2N()`, ….
        strata: ≥ 1; published 50.
    """

    beta: float = 0.1
    score: Ranked = field(default_factory=AUM)
    strata: int = 50
    name = "ccs"
    renew = "round"

    def __post_init__(self) -> None:
        if not 0 <= self.beta < 1 or self.strata < 1 or not isinstance(self.score, Ranked):
            raise ShapeError(
                f"ccs needs beta in [0, 1), strata ≥ 1 and a selector that ranks by a score, got {self.beta}, {self.strata} and "
                f"{self.score!r}."
            )

    @property
    def requires(self) -> frozenset[str]:
        return self.score.requires

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return what the score needs; strata are of n numbers."""
        return needs_of(self.score, sizes)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k, n = resolve(budget, snapshot.n), snapshot.n
            found = self.score.score(snapshot)
            h = self.score.hardness(found.values)  # [n], larger is harder
            asked = int(Fraction(str(self.beta)) * n)  # ⌊βN⌋ of the decimal written
            dropped = min(asked, n - k)
            rest = np.sort(rank(h, "highest")[dropped:])
            members = equal_width_strata(h[rest], self.strata)
            draws = seeded(snapshot.draw_seed, "ccs", round)
            picks = [
                rest[m][torch.randperm(len(m), generator=draws).numpy()[:share]]
                for m, share in zip(members, allocate([len(m) for m in members], k), strict=True)
            ]
            note = (
                f"{dropped} of {n} examples were dropped as too hard, because the budget is {k}; beta asks for {asked}"
            )
            notes = (*found.notes, note) if dropped < asked else found.notes
            return snapshot.selection(self, np.concatenate(picks), scores=found.values, notes=notes)


def equal_width_strata(h: Float64, strata: int) -> list[Int64]:
    """Return the members of each stratum that is not empty, the smallest stratum first, ties in order of score."""
    width = h.max() - h.min()
    at = np.minimum(((h - h.min()) / width * strata).astype(np.int64), strata - 1) if width > 0 else np.zeros(len(h))
    members = [np.flatnonzero(at == b) for b in np.unique(at)]
    return sorted(members, key=len)


def allocate(sizes: list[int], k: int) -> list[int]:
    """Share k over strata that are given in order of size: each gets min(its size, an equal share of what is left)."""
    shares = []
    for number, size in enumerate(sizes):
        shares.append(min(size, (k - sum(shares)) // (len(sizes) - number)))
    return shares

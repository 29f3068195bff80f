"""Coverage-centric coreset selection: Zheng, Liu, Lai, Prakash, "Coverage-centric Coreset Selection for High Pruning Rates",
ICLR 2023, Algorithm 1.

    drop the ⌊βN⌋ hardest;  cut the range of the score of the rest into 50 strata of equal width
    while strata are left:  B ← the smallest;  draw min(|B|, ⌊m / strata left⌋) of it uniformly;  m ← m − that

m starts at the budget k. No stratum gets more than its share while another could use it, and the sum is exactly k.
"""

from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError
from coreselect.protocols import TaskLike
from coreselect.selectors.score.aum import AUM
from coreselect.selectors.score.ranking import Ranked, rank
from coreselect.support.seeding import generator as seeded
from coreselect.types import Float64, Int64, Selection


@dataclass(frozen=True)
class CCS:
    """Drop the hardest examples, then draw evenly from strata of equal width of a score.

    Args:
        beta: β in [0, 1), the share of the pool dropped as too hard; published between 0 and 0.5, tuned for each budget (say
            which was used). Fewer are dropped where the budget leaves less, and a note says so.
        score: a selector by a score (`AUM()`, as published, `Forgetting()`, `EL2N()`, …).
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
                f"ccs needs beta in [0, 1), strata ≥ 1 and a selector by a score, got {self.beta}, {self.strata} and "
                f"{self.score!r}."
            )

    @property
    def requires(self) -> frozenset[str]:
        return self.score.requires

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k, n = resolve(budget, shot.n), shot.n
            found = self.score.score(shot)
            h = self.score.hardness(found.values)  # [n], larger is harder
            asked = int(Fraction(str(self.beta)) * n)  # ⌊βN⌋ of the decimal written
            dropped = min(asked, n - k)
            rest = np.sort(rank(h, "highest")[dropped:])
            members = cut(h[rest], self.strata)
            draws = seeded(shot.draws, "ccs", round)
            picks = [
                rest[m][torch.randperm(len(m), generator=draws).numpy()[:share]]
                for m, share in zip(members, allocate([len(m) for m in members], k), strict=True)
            ]
            note = f"the budget of {k} leaves {dropped} of {n} examples to drop as too hard, beta asks for {asked}"
            notes = (*found.notes, note) if dropped < asked else found.notes
            return shot.selection(self, np.concatenate(picks), scores=found.values, notes=notes)


def cut(h: Float64, strata: int) -> list[Int64]:
    """Return the members of each stratum that has any, from the smallest stratum up, equals in order of their score."""
    width = h.max() - h.min()
    at = np.minimum(((h - h.min()) / width * strata).astype(np.int64), strata - 1) if width > 0 else np.zeros(len(h))
    members = [np.flatnonzero(at == b) for b in np.unique(at)]
    return sorted(members, key=len)


def allocate(sizes: list[int], k: int) -> list[int]:
    """Share k over strata given in order of size: each min(its size, an equal share of what is left)."""
    shares = []
    for number, size in enumerate(sizes):
        shares.append(min(size, (k - sum(shares)) // (len(sizes) - number)))
    return shares

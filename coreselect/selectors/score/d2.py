"""D² pruning: Maharana, Yadav, Bansal, "D2 Pruning: Message Passing for Balancing Diversity and Difficulty in Data Pruning",
ICLR 2024.

    forward   u_i = s_i + Σ_{j∈N(i)} e^{−γ_f d_ij} s_j
    pick      i = argmax u over the rest;   reverse   u_j ← u_j − e^{−γ_r d_ij} u_i  for j ∈ N(i)

N(i) are the K nearest examples in feature space, d their Euclidean distance, and s ≥ 0 a score of difficulty. After the
neighbour search: time O(N·K + k·K·log N), memory O(N·K).
"""

import heapq
import math
from dataclasses import dataclass, field

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError
from coreselect.planning.derived import needs_of
from coreselect.planning.needs import NaturalPass, Need, OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.selectors.score.nearest import nearest_others, neighbour_work, refuse_large
from coreselect.selectors.score.ranking import Ranked
from coreselect.selectors.score.uncertainty import EL2N
from coreselect.types import Float64, Int64, Selection


@dataclass(frozen=True)
class D2:
    """Keep difficult examples, and prefer others to their neighbours.

    Args:
        score: a selector that ranks by a score: `EL2N()`, `Forgetting()` and `AUM()` (the paper's, with a `History`), …. Its
            hard end counts as difficult. Negative scores are shifted to a smallest value of 0; infinity becomes one more
            than the largest finite score.
        neighbours: K ≥ 1; published 1…15, tuned. If there are fewer other examples, all of them.
        gamma_f: γ_f ≥ 0; published 1.
        gamma_r: γ_r ≥ 0; published between 0 and 1, tuned for each budget. A small value almost excludes the neighbours.
    """

    score: Ranked = field(default_factory=EL2N)
    neighbours: int = 10
    gamma_f: float = 1.0
    gamma_r: float = 0.1
    name = "d2"
    renew = "round"

    def __post_init__(self) -> None:
        fine = all(0 <= gamma < math.inf for gamma in (self.gamma_f, self.gamma_r))
        if self.neighbours < 1 or not fine or not isinstance(self.score, Ranked):
            raise ShapeError(
                f"d2 needs neighbours ≥ 1, gamma_f and gamma_r ≥ 0 and a selector that ranks by a score, got {self.neighbours}, "
                f"{self.gamma_f}, {self.gamma_r} and {self.score!r}."
            )

    @property
    def requires(self) -> frozenset[str]:
        return self.score.requires | {"features"}

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return what the score needs, and features."""
        scored = needs_of(self.score, sizes)
        read = any(isinstance(need, NaturalPass) for need in scored)  # one pass gives features and logits
        return scored if read else (NaturalPass(sizes.n), *scored)

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method computes on features: the neighbours of every example."""
        return neighbour_work(sizes.n, self.neighbours)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k = resolve(budget, snapshot.n)
            refuse_large(snapshot, self.neighbours, self.name)
            found = self.score.score(snapshot)
            h = self.score.hardness(found.values)
            near, d = nearest_others(snapshot, self.neighbours, self.name)  # [n, K]
            with snapshot.clock("greedy"):
                s = h - min(h.min(), 0.0)  # [n]
                u = s + (np.exp(-self.gamma_f * d) * s[near]).sum(1)  # [n]
                picks, gains = pick_and_discount(u, near, np.exp(-self.gamma_r * d), k)
            return snapshot.selection(self, picks, gains=gains, scores=u, nested=True, notes=found.notes)


def pick_and_discount(u: Float64, near: Int64, r: Float64, k: int) -> tuple[Int64, Float64]:
    """Pick the largest u k times, and lower u_j by r_ij·u_i for the neighbours j of each pick i; ties go to the lowest index.

    A heap stores every value that u has had; values that are out of date, or whose example is taken, are skipped.

    Args:
        u: [n].
        near: int64 [n, K], the neighbours.
        r: [n, K], the discounts.
    Returns:
        The picks int64 [k], and u at each pick [k].
    """
    now = u.tolist()
    heap = [(-value, j) for j, value in enumerate(now)]
    heapq.heapify(heap)
    taken, picks, gains = [False] * len(now), [], []
    while len(picks) < k:
        value, i = heapq.heappop(heap)
        if taken[i] or -value != now[i]:
            continue
        taken[i] = True
        picks.append(i)
        gains.append(now[i])
        for j, weight in zip(near[i].tolist(), r[i].tolist(), strict=True):
            if not taken[j]:
                now[j] -= weight * now[i]
                heapq.heappush(heap, (-now[j], j))
    return np.array(picks, np.int64), np.array(gains)

"""Graph cut: like the pool, unlike each other.

    f(S) = λ Σ_{i∈V, j∈S} s_ij − Σ_{i,j∈S} s_ij,    gain(x | S) = λ Σ_{i∈V} s_ix − 2 Σ_{j∈S} s_jx − s_xx

Iyer, Khargonkar, Bilmes, Asnani, "Submodular combinatorial information measures with applications in machine learning", ALT 2021.
f is submodular as s ≥ 0 and monotone for λ ≥ 2, and greedy then reaches 1 − 1/e of the best (Nemhauser, Wolsey, Fisher 1978).
"""

from dataclasses import dataclass

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError
from coreselect.protocols import TaskLike
from coreselect.search.similarity import Kind, refuse, similarity, usable
from coreselect.solvers.submodular import first_largest, greedy_certificate
from coreselect.types import Selection


@dataclass(frozen=True)
class GraphCut:
    """Choose examples that are like the pool and unlike each other.

    No matrix is kept: Σ_i s_ix at the start, then one column of s a pick. Time O(N·k·D) (and O(N²·D) once for `rbf`), memory one
    copy of the features and O(N). `scores` are the gains at the start.

    Args:
        lam: λ > 0; below 2 f is not monotone and nothing is certified.
        similarity: `cosine` (1 + cos)/2, `euclidean` (a constant less the squared distance) or `rbf`.
        bandwidth: σ > 0 of `rbf`; None: 2σ² is the mean squared distance.
    """

    lam: float = 2.0
    similarity: Kind = "cosine"
    bandwidth: float | None = None
    name = "graph_cut"
    requires = frozenset({"features"})
    renew = "round"

    def __post_init__(self) -> None:
        refuse(self.similarity, self.bandwidth)
        if not 0 < self.lam < float("inf"):
            raise ShapeError(f"lam must be above 0 (2 or more for a monotone objective), got {self.lam}.")

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k = resolve(budget, shot.n)
            with shot.clock("similarity"):
                s = similarity(usable(shot.features()), self.similarity, self.bandwidth)
                gain = self.lam * s.sums() - 1  # [N]; s_xx = 1
            scores = gain.cpu().numpy().copy()
            with shot.clock("greedy"):
                taken = torch.zeros(shot.n, dtype=torch.bool, device=gain.device)
                picks: list[int] = []
                gains: list[float] = []
                for t in range(k):
                    x = first_largest(gain, taken, scale=self.lam * shot.n)
                    picks.append(x)
                    gains.append(float(gain[x]))
                    taken[x] = True
                    gain.sub_(s.column(x), alpha=2)
                    shot.shared.progress("greedy", t + 1, k)
            left = gain.masked_fill(taken, 0).clamp_(min=0)
            sealed = None
            if self.lam >= 2:
                value = float(np.sum(gains))
                sealed = greedy_certificate(value, value + float(left.topk(k).values.sum()), promised=True)
            return shot.selection(
                self,
                np.array(picks),
                gains=np.array(gains),
                scores=scores,
                nested=True,
                certificate=sealed,
                notes=() if sealed else (f"lam = {self.lam:g} is below 2: f is not monotone, nothing is certified",),
            )

"""Graph cut: similar to the pool, dissimilar to each other.

    f(S) = λ Σ_{i∈V, j∈S} s_ij − Σ_{i,j∈S} s_ij,    gain(x | S) = λ Σ_{i∈V} s_ix − 2 Σ_{j∈S} s_jx − s_xx

Iyer, Khargonkar, Bilmes, Asnani, "Submodular combinatorial information measures with applications in machine learning", ALT 2021.
f is submodular because s ≥ 0, and monotone for λ ≥ 2; then greedy reaches 1 − 1/e of the best (Nemhauser, Wolsey, Fisher 1978).
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError
from coreselect.protocols import TaskLike
from coreselect.search.similarity import LARGEST, Kind, check_similarity, similarity
from coreselect.selectors.checks import finite_features
from coreselect.solvers.coverage import greedy_certificate
from coreselect.solvers.largest import pick_largest
from coreselect.types import Selection


@dataclass(frozen=True)
class GraphCut:
    """Choose examples that are similar to the pool and dissimilar to each other.

    No matrix is stored: Σ_i s_ix is computed at the start, then one column of s per pick. Time O(N·k·D) (for `rbf` also
    O(N²·D) once), memory O(N) and one copy of the features. `scores` are the gains at the start.

    Args:
        lam: λ > 0; below 2 f is not monotone and there is no certificate.
        similarity: `cosine` (1 + cos)/2, `euclidean` (a constant minus the squared distance) or `rbf`.
        bandwidth: σ > 0 of `rbf`; None: 2σ² is the mean squared distance.
    """

    lam: float = 2.0
    similarity: Kind = "cosine"
    bandwidth: float | None = None
    name = "graph_cut"
    requires = frozenset({"features"})
    renew = "round"

    def __post_init__(self) -> None:
        check_similarity(self.similarity, self.bandwidth)
        if not 0 < self.lam < float("inf"):
            raise ShapeError(f"lam must be above 0 (2 or more for a monotone objective), got {self.lam}.")

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k, n = resolve(budget, snapshot.n), snapshot.n
            with snapshot.clock("similarity"):
                s = similarity(finite_features(snapshot, limit=LARGEST), self.similarity, self.bandwidth)
                gain = self.lam * s.sums() - 1  # [N]; s_xx = 1
            scores = gain.cpu().numpy().copy()
            with snapshot.clock("greedy"):
                picks, gains = pick_largest(
                    lambda: gain,
                    lambda x: gain.sub_(s.column(x), alpha=2),
                    k,
                    scale=self.lam * n,
                    tick=partial(snapshot.progress, "greedy"),
                )
            certificate = None
            if self.lam >= 2:
                value = float(np.sum(gains))
                left = gain.index_fill(0, torch.tensor(picks, device=gain.device), 0.0).clamp_(min=0)
                certificate = greedy_certificate(value, value + float(left.topk(k).values.sum()), promised=True)
            note = f"lam = {self.lam:g} is below 2: f is not monotone, so there is no certificate"
            return snapshot.selection(
                self,
                np.array(picks),
                gains=np.array(gains),
                scores=scores,
                nested=True,
                certificate=certificate,
                notes=() if certificate else (note,),
            )

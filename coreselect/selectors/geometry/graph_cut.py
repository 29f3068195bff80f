"""Graph cut: similar to the pool, dissimilar to each other.

    f(S) = λ Σ_{i∈V, j∈S} s_ij − Σ_{i,j∈S} s_ij,    gain(x | S) = λ Σ_{i∈V} s_ix − 2 Σ_{j∈S} s_jx − s_xx

Iyer, Khargonkar, Bilmes, Asnani, "Submodular combinatorial information measures with applications in machine learning", ALT 2021.
f is submodular because s ≥ 0, and monotone for λ ≥ 2; then greedy reaches 1 − 1/e of the best (Nemhauser, Wolsey, Fisher 1978).
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError
from coreselect.gradients.rows import gamma
from coreselect.planning.needs import OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.search.distances import Distances
from coreselect.search.similarity import LARGEST, Kind, Similarity, check_similarity, similarity
from coreselect.selectors.checks import finite_features
from coreselect.solvers.coverage import greedy_certificate
from coreselect.solvers.falling import TIE, pick_falling
from coreselect.support.limits import Needs
from coreselect.types import Selection

ROUNDING = 2.0**-20  # of a similarity in float32, and of its exponential
LARGEST_SHARE = 1e38  # a float32


@dataclass(frozen=True)
class GraphCut:
    """Choose examples that are similar to the pool and dissimilar to each other.

    No matrix is stored: Σ_i s_ix is computed at the start, then the columns of the picks, many at once. Time O(N·k·D) (for
    `rbf` also O(N²·D) once), memory O(N) and one copy of the features. `scores` are the gains at the start.

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

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method computes on features of width D: similarities to the picks, and all of them for `rbf`."""
        n = sizes.n
        pairs = n * (2 * n if self.similarity == "rbf" else 0) + 1.5 * n * sizes.k
        return OwnWork("features", lambda d: Needs(pairs * d, memory=4 * n * d + 64 * n))

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k, n = resolve(budget, snapshot.n), snapshot.n
            with snapshot.clock("similarity"):
                s = similarity(
                    finite_features(snapshot, limit=LARGEST, name=self.name, needs=self.work(Sizes(n, k)).of),
                    self.similarity,
                    self.bandwidth,
                )
                gains_at_start = self.lam * s.sums() - 1  # [N]; s_xx = 1
                gain = CutGains(s, gains_at_start, k, self.lam * n)
            with snapshot.clock("greedy"):
                picks, gains = pick_falling(gain, k, scale=self.lam * n, tick=partial(snapshot.progress, "greedy"))
            certificate = None
            if self.lam >= 2:
                value = float(np.sum(gains))
                left = gain.upper()
                left = left.index_fill_(0, torch.tensor(picks, device=left.device), 0.0).clamp_(min=0)
                certificate = greedy_certificate(value, value + float(left.topk(k).values.sum()), promised=True)
            note = f"lam = {self.lam:g} is below 2: f is not monotone, so there is no certificate"
            return snapshot.selection(
                self,
                np.array(picks),
                gains=np.array(gains),
                scores=gains_at_start.cpu().numpy(),
                nested=True,
                certificate=certificate,
                notes=() if certificate else (note,),
            )


class CutGains:
    """gain(x | S) of every example (`coreselect.solvers.falling.Falling`): it never rises, because s ≥ 0.

    Args:
        s: of the N examples.
        start: the gains without picks, float64 [N].
        k: number of picks in the end.
        scale: size of the numbers whose sums the gains are.
    """

    def __init__(self, s: Similarity, start: Tensor, k: int, scale: float) -> None:
        self._s, self._start, self.n = s, start, len(start)
        self._distances = Distances(s.points)
        self._above = start.clone()  # [N]; bounds of the gains
        self._sum, self._squares = self._distances.squares.new_zeros(s.points.shape[1]), 0.0  # Σ_j x_j, Σ_j ‖x_j‖²
        self._picks: list[int] = []
        self._counted = 0  # picks that `_above` counts
        # products in float64 will do if their rounding in a gain is far below what counts as a tie
        self._ratio = self._distances.unit / s.scale
        rounding = 4 * k * gamma(s.points.shape[1], torch.float64) * float(self._distances.squares.max()) * self._ratio
        self._products_do = rounding <= TIE * scale / 10

    def add(self, x: int) -> None:
        self._picks.append(x)

    def upper(self) -> Tensor:
        new = self._tensor(self._picks[self._counted :])
        self._counted = len(self._picks)
        if self._s.kind != "rbf":
            return self._by_sums(new)
        for rows, squares in self._distances.upper(new):
            least = (
                self._s.from_shares(squares.mul_(min(self._ratio, LARGEST_SHARE))).sub_(ROUNDING).clamp_(min=0)
            )  # ≤ s
            self._above[rows].sub_(least.sum(0, dtype=torch.float64), alpha=2)
        return self._above.clone()

    def _by_sums(self, new: Tensor) -> Tensor:
        """Return the bounds where s is linear in ‖x_i − x_j‖²: Σ_j ‖x_i − x_j‖² = t‖x_i‖² + Σ_j ‖x_j‖² − 2⟨x_i, Σ_j x_j⟩."""
        d, t = self._distances, len(self._picks)
        self._sum += d.at(new).sum(0, dtype=torch.float64)
        self._squares += float(d.squares[new].sum())
        products, error = d.products(self._sum)
        apart = d.squares.mul(t).add_(self._squares).mul_(1 + ROUNDING).sub_(products, alpha=2).add_(2 * error)
        return apart.mul_(2 * self._ratio).add_(self._start).sub_(2 * t)

    def exact(self, ids: Tensor) -> Tensor:
        gain, picks = self._start[ids], self._tensor(self._picks)
        for at, squares in self._distances.pairs(ids, picks, by_products=self._products_do):
            gain[at] -= 2 * self._s.from_squares(squares).sum(1)
        return gain

    def watch(self, ids: Tensor) -> None:
        self._apart = self._distances.watched(ids)

    def lowered(self, values: Tensor, x: int) -> Tensor:
        return values.sub_(self._s.from_squares(self._apart(x)), alpha=2)

    def _tensor(self, picks: list[int]) -> Tensor:
        return torch.tensor(picks, dtype=torch.int64, device=self._start.device)

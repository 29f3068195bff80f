"""ZCore: Griffin, Marks, Corso, "Zero-Shot Coreset Selection via Iterative Subspace Sampling", 2024 (arXiv 2411.15349).

    repeat T times: draw two coordinates, and a point p in them with p_d ~ triangular(min, median, max of coordinate d)
        i* = argmin_i ‖x_i − p‖₁:   s_{i*} += 1                                    (coverage)
        for j among the α nearest to i*:  s_j −= d_j⁻⁴ / Σ d⁻⁴,  d_j = ‖x_j − x_{i*}‖₁    (redundancy)

and keep the k largest s. Scores start uniform in [0, 1), as published. For duplicates with d = 0 the limit of the formula is
used: they share the whole penalty. All examples that tie with the α-th neighbour count as neighbours.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError
from coreselect.planning.needs import OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.search.distances import scale_of
from coreselect.selectors.checks import finite_features
from coreselect.selectors.label_free.features import descending
from coreselect.support.limits import Needs
from coreselect.support.seeding import generator as seeded
from coreselect.task.snapshot import Snapshot
from coreselect.types import Selection

MOST = 1_000_000  # published number of draws
PER_EXAMPLE = 20  # draws per example in smaller pools
SORTED = 2**22  # numbers that are sorted at a time
ENTRIES = {"cpu": 2**17}  # distances that are stored at a time: they fit a CPU's cache; 2²⁴ on other devices


@dataclass(frozen=True)
class ZCore:
    """Keep examples that cover random planes of the feature space and are not redundant there, without labels.

    Args:
        samples: T ≥ 1 draws; None: 20 per example, at most 1,000,000, the published number.
        neighbours: α, 1…N − 1; published 1000.
        random_start: whether scores start uniform in [0, 1), drawn from the seed (published), or at 0.

    Time O(T·N), memory O(N·D). It runs on the device of the features.
    """

    samples: int | None = None
    neighbours: int = 1000
    random_start: bool = True
    name = "zcore"
    requires = frozenset({"features"})
    renew = "round"

    def __post_init__(self) -> None:
        if (self.samples is not None and self.samples < 1) or self.neighbours < 1:
            raise ShapeError(f"samples and neighbours must be at least 1, got {self.samples} and {self.neighbours}.")

    def _draws(self, n: int) -> int:
        """Return T."""
        return self.samples or min(MOST, PER_EXAMPLE * n)

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method reads: all examples in two coordinates for each draw; two float64 copies of width D are made."""
        n, T = sizes.n, self._draws(sizes.n)
        way_out = "give fewer samples, or choose in windows (windowed)"
        return OwnWork(
            "features", lambda d: Needs(read=160 * T * n + 24 * n * d, memory=16 * n * d + 96 * T, way_out=way_out)
        )

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k, n = resolve(budget, snapshot.n), snapshot.n
            T = self._draws(n)
            draws = seeded(snapshot.draw_seed, "zcore", snapshot.round)
            phi = finite_features(snapshot, name=self.name, needs=self.work(Sizes(n, k)).of)
            X = phi.double().T.contiguous()  # [D, n]
            if (scale := scale_of(float(X.abs().max()))) != 1:  # draws multiply coordinates
                X = X / scale
            with snapshot.clock("subspaces"):
                s = subspace_scores(snapshot, X, T, min(self.neighbours, snapshot.n - 1), draws)
            notes = (f"{T} draws",)
            if self.random_start:
                s = s + torch.rand(snapshot.n, generator=draws, dtype=torch.float64).to(s.device)
                notes += ("scores started uniform in [0, 1), as published",)
            scores = s.cpu().numpy()  # [n]
            picks = descending(scores)[:k]
            return snapshot.selection(self, picks, scores=scores, nested=True, notes=notes)


def subspace_scores(snapshot: Snapshot, X: Tensor, T: int, neighbours: int, draws: torch.Generator) -> Tensor:
    """Return coverage minus redundancy over T draws: X [D, n] → [n]."""
    n, s = X.shape[1], X.new_zeros(X.shape[1])
    step = max(1, ENTRIES.get(X.device.type, 2**24) // n)
    dims, points = (part.to(X.device).split(step) for part in subspaces(X, T, draws))
    for number, (d, p) in enumerate(zip(dims, points, strict=True)):
        Y = [X[axis] for axis in d.T]  # [b, n] per coordinate
        nearest = distances(Y, list(p.T)).argmin(1)  # i* [b], the lowest of equally near ones
        s += nearest.bincount(minlength=n)
        if neighbours:
            here = nearest[:, None]
            gap = distances(Y, [y.gather(1, here)[:, 0] for y in Y]).scatter_(1, here, float("inf"))  # [b, n]
            least = gap.amin(1, keepdim=True)
            share = (least / gap).nan_to_num_(1.0).square_().square_()  # ∝ gap⁻⁴; 0/0, for duplicates, becomes 1
            share.masked_fill_(gap > kth_smallest(gap, neighbours), 0.0)
            s -= (share / share.sum(1, keepdim=True)).sum(0)
        snapshot.progress("subspaces", min(T, (number + 1) * step), T)
    return s


def distances(Y: list[Tensor], point: list[Tensor]) -> Tensor:
    """Return l₁ distances [b, n] from coordinates [b, n] each, and a point's coordinates [b] each."""
    out = torch.zeros_like(Y[0])
    for y, p in zip(Y, point, strict=True):
        out += (y - p[:, None]).abs_()
    return out


def kth_smallest(gap: Tensor, k: int) -> Tensor:
    """Return the k-th smallest of each row, [b, n] → [b, 1]."""
    if gap.device.type == "cpu":  # numpy is several times faster there
        return torch.from_numpy(np.partition(gap.numpy(), k - 1, axis=1)[:, k - 1 : k])
    return gap.kthvalue(k, dim=1, keepdim=True).values


def edges_of(X: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return min, median and max of coordinates: X [d, n] → [d] each."""
    ordered, n = X.sort(1).values, X.shape[1]
    return ordered[:, 0], (ordered[:, (n - 1) // 2] + ordered[:, n // 2]) / 2, ordered[:, -1]


def subspaces(X: Tensor, T: int, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw T times m = min(2, D) distinct coordinates of X [D, n], int64 [T, m], and a point in them, [T, m]."""
    D, n = X.shape
    dims = torch.randint(D, (T, 1), generator=draws)  # [T, 1]
    if D > 1:
        other = torch.randint(D - 1, (T, 1), generator=draws)
        dims = torch.cat([dims, other + (other >= dims).long()], 1)  # [T, 2]
    u = torch.rand(dims.shape, generator=draws, dtype=torch.float64)
    few = max(1, SORTED // n)  # coordinates that are sorted at once
    low, mode, high = (torch.cat(edges).cpu()[dims] for edges in zip(*map(edges_of, X.split(few)), strict=True))
    width = high - low
    rising = low + (u * width * (mode - low)).sqrt()
    falling = high - ((1 - u) * width * (high - mode)).sqrt()
    return dims, torch.where(u * width < mode - low, rising, falling)

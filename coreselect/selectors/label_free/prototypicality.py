"""Self-supervised prototypes: Sorscher, Geirhos, Shekhar, Ganguli, Morcos, "Beyond neural scaling laws: beating power law scaling
via data pruning", NeurIPS 2022.

    s_i = d(x_i, μ_{a_i}),   a = k-means of the features x,   μ_c = mean of cluster c

keep the largest s (hard examples, better for large data) or the smallest (easy examples, better for small data). The paper's
d is the cosine distance 1 − cos; this file assumes that features are scaled to unit length before clustering.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError, UnknownNameError
from coreselect.planning.needs import OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.search.kmeans import Engine
from coreselect.selectors.checks import finite_features
from coreselect.selectors.label_free.features import (
    MEMBER,
    cluster,
    cluster_needs,
    cosine_distances,
    descending,
    engine_note,
    unit_rows,
    unit_single,
)
from coreselect.support.limits import Needs
from coreselect.types import Float64, Selection


@dataclass(frozen=True)
class Prototypicality:
    """Keep the examples farthest from (or nearest to) the centre of their k-means cluster, without labels.

    Args:
        keep: `"hard"`, the farthest first, or `"easy"`, the nearest first.
        distance: `"cosine"` (published; features scaled to unit length) or `"euclidean"` (features unscaled).
        clusters: number of k-means clusters, 1…N; the paper uses the number of classes and finds that it matters little.
        search: what clusters: `auto` (FAISS if it is installed), `faiss` or `scipy`; their clusters differ, and a note says
            which.
    """

    keep: Literal["hard", "easy"] = "hard"
    distance: Literal["cosine", "euclidean"] = "cosine"
    clusters: int = 10
    search: Engine = "auto"
    name = "prototypicality"
    requires = frozenset({"features"})
    renew = "round"

    def __post_init__(self) -> None:
        if self.keep not in ("hard", "easy") or self.distance not in ("cosine", "euclidean"):
            raise UnknownNameError(
                f"keep must be 'hard' or 'easy' and distance 'cosine' or 'euclidean', got {self.keep!r} and {self.distance!r}."
            )
        if self.clusters < 1:
            raise ShapeError(f"clusters must be at least 1, got {self.clusters}.")

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method computes on features of width D: k-means, and distances in clusters of equal size."""
        n, count = sizes.n, min(self.clusters, sizes.n)

        def of(d: int) -> Needs:
            found = cluster_needs(n, count, d, self.search)
            members = 4 * n * d + MEMBER * n / count * d  # beside the copy that was clustered
            way_out = "give other clusters, or choose in windows (windowed)"
            return replace(found, read=found.read + MEMBER * n * d, memory=max(found.memory, members), way_out=way_out)

        return OwnWork("features", of)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k, cosine = resolve(budget, snapshot.n), self.distance == "cosine"
            phi = finite_features(snapshot, name=self.name, needs=self.work(Sizes(snapshot.n, k)).of)  # [n, D]
            X = unit_single(phi) if cosine else phi.cpu().numpy()
            s = np.empty(snapshot.n)  # [n]
            for m in cluster(snapshot, X, self.clusters, self.name, self.search, overwrite=cosine):
                s[m] = (
                    cosine_distances(unit_rows(phi, m)) if cosine else to_mean(phi[torch.from_numpy(m).to(phi.device)])
                )
            picks = descending(s if self.keep == "hard" else -s)[:k]
            return snapshot.selection(self, picks, scores=s, nested=True, notes=(engine_note(self.search),))


def to_mean(members: Tensor) -> Float64:
    """Return the distances of the members of a cluster [m, D] to their mean, [m]."""
    X, scale = in_range(members.double().cpu().numpy())
    return scale * np.sqrt(((X - X.mean(0)) ** 2).sum(1))


def in_range(X: Float64) -> tuple[Float64, float]:
    """Return X / scale and scale, a power of two near the largest entry, so that squares neither overflow nor vanish."""
    scale = float(np.ldexp(1.0, np.frexp(np.abs(X).max())[1] - 1))
    return X / scale, scale

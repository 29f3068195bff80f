"""Self-supervised prototypes: Sorscher, Geirhos, Shekhar, Ganguli, Morcos, "Beyond neural scaling laws: beating power law scaling
via data pruning", NeurIPS 2022.

    s_i = d(x_i, μ_{a_i}),   a = k-means of the features x,   μ_c = mean of cluster c

keep the largest s (hard examples: right for large data) or the smallest (easy: right for small data). The paper's d is the cosine
distance 1 − cos; there features are scaled to unit length before they are clustered, which is this file's reading of it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError, UnknownNameError
from coreselect.protocols import TaskLike
from coreselect.selectors.label_free.latent import cluster, cosine_distances, descending, finite_features, unit
from coreselect.types import Float64, Selection


@dataclass(frozen=True)
class Prototypicality:
    """Keep the examples farthest from (or nearest to) the centroid of their k-means cluster, without labels.

    Args:
        keep: `"hard"`, the farthest first, or `"easy"`, the nearest first.
        distance: `"cosine"` (published; features on the unit sphere) or `"euclidean"` (features as they are).
        clusters: of k-means, ≥ 1, at most N; the paper takes the number of classes and finds that it matters little.
    """

    keep: Literal["hard", "easy"] = "hard"
    distance: Literal["cosine", "euclidean"] = "cosine"
    clusters: int = 10
    name = "prototypicality"
    requires = frozenset({"features"})
    renew = "round"

    def __post_init__(self) -> None:
        if self.keep not in ("hard", "easy") or self.distance not in ("cosine", "euclidean"):
            raise UnknownNameError(
                f"prototypicality keeps 'hard' or 'easy' by 'cosine' or 'euclidean', got {self.keep!r} and {self.distance!r}."
            )
        if self.clusters < 1:
            raise ShapeError(f"clusters must be at least 1, got {self.clusters}.")

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k, cosine = resolve(budget, shot.n), self.distance == "cosine"
            X = finite_features(shot).cpu().numpy()  # [n, D]
            X, scale = (unit(X), 1.0) if cosine else in_range(X)
            s = np.empty(shot.n)  # [n]
            for m in cluster(shot, X, self.clusters, self.name):
                s[m] = cosine_distances(X[m]) if cosine else scale * np.sqrt(((X[m] - X[m].mean(0)) ** 2).sum(1))
            picks = descending(s if self.keep == "hard" else -s)[:k]
            return shot.selection(self, picks, scores=s, nested=True)


def in_range(X: Float64) -> tuple[Float64, float]:
    """Divide by the power of two below the largest entry, so that squares neither overflow nor vanish: (X / scale, scale)."""
    scale = float(np.ldexp(1.0, np.frexp(np.abs(X).max())[1] - 1))
    return X / scale, scale

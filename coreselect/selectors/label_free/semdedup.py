"""SemDeDup: Abbas, Tirumala, Simig, Ganguli, Morcos, "SemDeDup: Data-efficient learning at web-scale through semantic
deduplication", 2023 (arXiv 2303.09540).

    M_i = max over j before i in i's cluster of cos(x_i, x_j);   i is dropped where M_i > 1 − ε

after k-means of the unit features; a cluster is ordered by the distance to its centroid, farthest first ("keep hard"). M does not
depend on what is dropped, so the ε that leaves exactly k is 1 − (the k-th smallest M). The first item of a cluster has
none before it and M = −1, the least a cosine can be: no ε drops it while another could go.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError, UnknownNameError
from coreselect.protocols import TaskLike
from coreselect.selectors.label_free.latent import (
    DECIMALS,
    cluster,
    cosine_distances,
    descending,
    finite_features,
    unit,
)
from coreselect.types import Float64, Selection

ENTRIES = 2**22  # similarities held at a time


@dataclass(frozen=True)
class SemDeDup:
    """Drop near-duplicates inside k-means clusters until exactly the budget remains, without labels.

    Args:
        clusters: of k-means, ≥ 1, at most N; None: ⌈∛N⌉; few, so that few near-duplicates are parted.
        keep: which of two near-duplicates stays: `"hard"` (published default), the one farther from its centroid, or `"easy"`.

    `scores` are 1 − M_i in [0, 2]: the cosine distance to the nearest earlier item. The ε that was found, and how many items
    tied at it, stand in the provenance. Similarities are computed a block of rows at a time, never N × N.
    """

    clusters: int | None = None
    keep: Literal["hard", "easy"] = "hard"
    name = "semdedup"
    requires = frozenset({"features"})
    renew = "round"

    def __post_init__(self) -> None:
        if self.keep not in ("hard", "easy"):
            raise UnknownNameError(f"semdedup keeps 'hard' or 'easy' duplicates, got {self.keep!r}.")
        if self.clusters is not None and self.clusters < 1:
            raise ShapeError(f"clusters must be at least 1, or None, got {self.clusters}.")

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k, n = resolve(budget, shot.n), shot.n
            X = unit(finite_features(shot).cpu().numpy())  # [n, D]
            M = np.empty(n)  # [n]
            for m in cluster(shot, X, self.clusters or ceil(n ** (1 / 3) - 1e-9), self.name):
                hardness = cosine_distances(X[m])
                order = m[descending(hardness if self.keep == "hard" else -hardness)]
                with shot.clock("similarities"):
                    M[order] = nearest_earlier(X[order])
            picks = np.argsort(M, kind="stable")[:k]
            threshold = M[picks[-1]]  # 1 − ε
            notes = (
                f"epsilon {1 - threshold:.12g}: kept are the {k} of {n} with max cosine to an earlier item ≤ 1 − ε",
            )
            tied, kept = int((threshold == M).sum()), int((M[picks] == threshold).sum())
            if kept < tied:
                notes += (f"{tied} items tie at that threshold, of which the {kept} of lowest index were kept",)
            settings = {"epsilon": float(1 - threshold)}
            return shot.selection(self, picks, scores=1 - M, nested=True, notes=notes, settings=settings)


def nearest_earlier(X: Float64) -> Float64:
    """Return each unit row's largest cosine to a row before it, −1 for the first; [m, D] → [m]."""
    out: Float64 = np.full(len(X), -1.0)
    step = max(1, ENTRIES // len(X))
    for at in range(0, len(X), step):
        block = X[at : at + step] @ X[: at + step].T  # [b, at + b]
        later = np.arange(block.shape[1]) >= at + np.arange(len(block))[:, None]
        block[later] = -1.0
        out[at : at + step] = block.max(1)
    return out.clip(-1.0, 1.0).round(DECIMALS)  # a product's last bits depend on the block it stood in

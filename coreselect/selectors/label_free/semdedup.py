"""SemDeDup: Abbas, Tirumala, Simig, Ganguli, Morcos, "SemDeDup: Data-efficient learning at web-scale through semantic
deduplication", 2023 (arXiv 2303.09540).

    M_i = max over j before i in i's cluster of cos(x_i, x_j);   i is dropped where M_i > 1 − ε

after k-means of the features at unit length. A cluster is ordered by the distance to its centre, farthest first ("keep hard").
M does not depend on what is dropped, so the ε that leaves exactly k is 1 − (the k-th smallest M). The first item of a cluster has
no item before it; its M is −1, the smallest cosine, so it is dropped last.
"""

from dataclasses import dataclass
from math import ceil
from typing import Literal

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError, UnknownNameError
from coreselect.gradients.products import matmul
from coreselect.gradients.rows import gamma
from coreselect.planning.needs import OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.search.kmeans import Engine
from coreselect.selectors.checks import finite_features
from coreselect.selectors.label_free.features import (
    DECIMALS,
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
from coreselect.types import Float64, Int64, Selection

ENTRIES, FEWEST = 2**16, 64  # similarities that are computed at a time, and rows
MANY = 32  # close rows on average, above which a product of matrices is faster


@dataclass(frozen=True)
class SemDeDup:
    """Drop near-duplicates inside k-means clusters until exactly the budget remains, without labels.

    Args:
        clusters: number of k-means clusters, 1…N; None: ⌈∛N⌉, so few that few near-duplicates are separated.
        keep: which of two near-duplicates stays: `"hard"` (published default), the one farther from the cluster's centre, or
            `"easy"`.
        search: what clusters: `auto` (FAISS if it is installed), `faiss` or `scipy`; their clusters differ, and a note says
            which.

    `scores` are 1 − M_i in [0, 2]: the cosine distance to the nearest earlier item. The provenance records ε and how many items
    tie at it. Similarities are computed in blocks of rows, in float32, and those that may be the largest again in float64; no
    N × N matrix is stored. Memory: one float32 copy of the features.
    """

    clusters: int | None = None
    keep: Literal["hard", "easy"] = "hard"
    search: Engine = "auto"
    name = "semdedup"
    requires = frozenset({"features"})
    renew = "round"

    def __post_init__(self) -> None:
        if self.keep not in ("hard", "easy"):
            raise UnknownNameError(f"keep must be 'hard' or 'easy', got {self.keep!r}.")
        if self.clusters is not None and self.clusters < 1:
            raise ShapeError(f"clusters must be at least 1, or None, got {self.clusters}.")

    def _count(self, n: int) -> int:
        return min(n, self.clusters or ceil(n ** (1 / 3) - 1e-9))

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method computes on features of width D: k-means, and similarities in clusters of equal size."""
        n, count = sizes.n, self._count(sizes.n)

        def of(d: int) -> Needs:
            found = cluster_needs(n, count, d, self.search)
            return Needs(
                found.products + n * n / count * d,
                read=found.read + MEMBER * n * d,
                memory=max(found.memory, MEMBER * n / count * d),
                way_out="give more clusters (but not too many), or choose in windows (windowed)",
            )

        return OwnWork("features", of)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k, n = resolve(budget, snapshot.n), snapshot.n
            count = self._count(n)
            phi = finite_features(snapshot, name=self.name, needs=self.work(Sizes(n, k)).of)  # [n, D]
            M = np.empty(n)  # [n]
            for m in cluster(snapshot, unit_single(phi), count, self.name, self.search, overwrite=True):
                X = unit_rows(phi, m)  # [m, D] float64
                hardness = cosine_distances(X)
                order = descending(hardness if self.keep == "hard" else -hardness)
                with snapshot.clock("similarities"):
                    M[m[order]] = nearest_earlier(X, order)
            picks = np.argsort(M, kind="stable")[:k]
            threshold = M[picks[-1]]  # 1 − ε
            notes = (
                f"epsilon {1 - threshold:.12g}: kept {k} of {n} examples, with largest cosine to an earlier item ≤ 1 − ε",
                engine_note(self.search),
            )
            tied, kept = int((threshold == M).sum()), int((M[picks] == threshold).sum())
            if kept < tied:
                notes += (f"{tied} items tie at that threshold; the {kept} of lowest index were kept",)
            settings = {"epsilon": float(1 - threshold)}
            return snapshot.selection(self, picks, scores=1 - M, nested=True, notes=notes, settings=settings)


def nearest_earlier(X: Float64, order: Int64) -> Float64:
    """Return each unit row's largest cosine with a row before it in `order`, −1 for the first; [m, D], [m] → [m] in that order.

    Float32 proposes the rows that may have the largest cosine; float64 decides.
    """
    out: Float64 = np.full(len(X), -1.0)
    single = X.astype(np.float32)[order]  # [m, D]
    margin = np.float32(2 * gamma(X.shape[1], torch.float32))
    step = max(FEWEST, ENTRIES // len(X))
    later = np.triu(np.full((min(step, len(X)),) * 2, -np.inf, np.float32))  # hides rows that are not before a row
    for at in range(0, len(X), step):
        own = slice(at, at + step)
        block = matmul(single[own], single[: own.stop].T)  # [b, at + b]
        block[:, at:] += later[: len(block), : len(block)]
        close = np.flatnonzero(block >= block.max(1, keepdims=True) - margin)
        i, j = np.divmod(close, block.shape[1])
        i, j = (i, j) if at else (i[i > 0], j[i > 0])  # the first row has none before it
        if len(i) > len(block) * MANY:
            exact = matmul(X[order[own]], X[order[: own.stop]].T)
            np.maximum.at(out, at + i, exact[i, j])
        else:
            np.maximum.at(out, at + i, np.einsum("pd,pd->p", X[order[at + i]], X[order[j]]))
    return out.clip(-1.0, 1.0).round(DECIMALS)  # the last bits of a product depend on its block

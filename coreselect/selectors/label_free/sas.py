"""SAS, subsets that maximise augmentation similarity: Joshi, Mirzasoleiman, "Data-Efficient Contrastive Self-supervised Learning:
Most Beneficial Examples for Supervised Learning Contribute the Least", ICML 2023.

In each latent class V_c greedily, with |S_c| proportional to |V_c|:

    F(S) = Σ_{i∈V_c∖S} Σ_{j∈S} s_ij = Σ_{i∈V_c} Σ_{j∈S} s_ij − λ Σ_{i∈S} Σ_{j∈S} s_ij,   λ = 1
    F(e|S) = Σ_{i∈V_c} s_ie − λ (2 Σ_{j∈S} s_je + s_ee)

F is a cut: similarity to many examples, minus redundancy inside S. λ = 1 is the sum as written. The published code counts a
pick's redundancy once in the gain (λ = ½) and clears it when a pick is added (λ = 0). In the paper s is the expected similarity
of two examples' augmentations under a proxy model. Here s_ij = (1 + cos(x_i, x_j))/2 of one evaluation view, without
augmentation. A constant added to s changes no pick, because the sizes are fixed; the shift only makes s non-negative and so F
submodular. The double-greedy refinement may return fewer than k examples and is not included.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from coreselect.budget import Budget, largest_remainder, resolve
from coreselect.errors import ShapeError, UnknownNameError
from coreselect.gradients.products import dot_by_rows
from coreselect.planning.needs import OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.search.kmeans import Engine
from coreselect.selectors.checks import finite_features
from coreselect.selectors.label_free.features import (
    MEMBER,
    cluster,
    cluster_needs,
    engine_note,
    members,
    unit_rows,
    unit_single,
)
from coreselect.support.limits import Needs
from coreselect.types import Float64, Int64, Selection

ROUNDING = 1e-12  # gains that differ by less than this times the class's size are ties


@dataclass(frozen=True)
class SAS:
    """Keep, in each latent class, examples that are similar to many others of the class and not redundant.

    Args:
        latent: the latent classes: `"clusters"` (k-means of the features at unit length, no labels) or `"labels"`.
        clusters: number of k-means clusters, 1…N; the paper uses the number of classes. Not used with `latent="labels"`.
        redundancy: λ ≥ 0; 1 is the published objective, 0 ranks by similarity to the class alone.
        search: what clusters: `auto` (FAISS if it is installed), `faiss` or `scipy`; their clusters differ, and a note says
            which.

    Picks are ordered class by class, in greedy order inside a class. Gains are F(e|S) at the pick; they may be negative, because
    a cut is not monotone. Memory O(N), time O(N·D), and O(|V_c|·D) per pick: sums of similarities are products with sums of
    features.
    """

    latent: Literal["clusters", "labels"] = "clusters"
    clusters: int = 10
    redundancy: float = 1.0
    search: Engine = "auto"
    name = "sas"
    renew = "round"

    def __post_init__(self) -> None:
        if self.latent not in ("clusters", "labels"):
            raise UnknownNameError(f"latent must be 'clusters' or 'labels', got {self.latent!r}.")
        if self.clusters < 1 or not 0 <= self.redundancy < float("inf"):
            raise ShapeError(
                f"sas needs clusters ≥ 1 and a finite redundancy ≥ 0, got {self.clusters} and {self.redundancy}."
            )

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"features", "labels"} if self.latent == "labels" else {"features"})

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method computes on features of width D: k-means, and a pass over a pick's class for each pick."""
        n, k = sizes.n, sizes.k
        by_label, count = self.latent == "labels", min(self.clusters, sizes.n)
        largest, pairs = n / count, k * n / count  # clusters are about equal
        if by_label:
            classes = list(sizes.classes) or [n]
            largest = max(classes)
            pairs = sum(m * share for m, share in zip(classes, largest_remainder(k, classes), strict=True))

        def of(d: int) -> Needs:
            found = Needs() if by_label else cluster_needs(n, count, d, self.search)
            return Needs(
                found.products,
                read=found.read + 8 * (pairs + 3 * n) * d,  # and the sums at the start
                memory=max(found.memory, MEMBER * largest * d),
                way_out="give more clusters, or choose in windows (windowed)",
            )

        return OwnWork("features", of)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            n, k = snapshot.n, resolve(budget, snapshot.n)
            by_label = self.latent == "labels"
            parts = members(snapshot.labels()) if by_label else []
            work = self.work(Sizes(n, k, classes=tuple(map(len, parts))))
            phi = finite_features(snapshot, name=self.name, needs=work.of)  # [n, D]
            notes: tuple[str, ...] = ()
            if not by_label:
                parts = cluster(snapshot, unit_single(phi), self.clusters, self.name, self.search, overwrite=True)
                notes = (engine_note(self.search),)
            shares = largest_remainder(k, [len(V) for V in parts])
            with snapshot.clock("greedy"):
                chosen = [greedy_cut(unit_rows(phi, V), k, self.redundancy) for V, k in zip(parts, shares, strict=True)]
            picks = np.concatenate([V[S] for V, (S, _) in zip(parts, chosen, strict=True)])
            gains = np.concatenate([g for _, g in chosen])
            negative = int((gains < 0).sum())
            if negative:
                notes = (*notes, f"{negative} picks, the last of their classes, lowered the objective")
            return snapshot.selection(self, picks, gains=gains, notes=notes)


def greedy_cut(Z: Float64, k: int, redundancy: float) -> tuple[Int64, Float64]:
    """Pick k unit rows of one class by F(e|S), ties to the lowest position: Z [m, D] → positions [k], gains [k]."""
    near = (len(Z) + dot_by_rows(Z, Z.sum(0))) / 2  # Σ_i s_ie [m]
    gain = near - redundancy * (1 + (Z * Z).sum(1)) / 2  # [m]
    free = np.ones(len(Z), dtype=bool)
    S, gains = np.empty(k, np.int64), np.empty(k)
    for t in range(k):
        best = gain[free].max()
        S[t] = e = int(np.flatnonzero(free & (gain >= best - ROUNDING * len(Z)))[0])
        gains[t] = gain[e]
        free[e] = False
        gain -= redundancy * (1 + dot_by_rows(Z, Z[e]))  # 2 λ s_·e
    return S, gains

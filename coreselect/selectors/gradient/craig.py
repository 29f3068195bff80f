"""CRAIG: Mirzasoleiman, Bilmes, Leskovec, "Coresets for data-efficient training of machine learning models", ICML 2020; at
attacked points: Dolatabadi, Erfani, Leckie, "ℓ∞-robustness and beyond: unleashing efficient adversarial training", ECCV 2022.

    S* = argmax_{|S| = k} F(S),   F(S) = Σ_i max_{j ∈ S} s_ij,   s_ij = c − d_ij,   d_ij = ‖g_i − g_j‖,   c = max d
    γ_j = |{i : j is i's nearest in S}|,   Σ γ_j = N
    ‖Σ_i g_i − Σ_{j ∈ S} γ_j g_j‖ ≤ Σ_i min_{j ∈ S} d_ij

greedily, lazily (Minoux 1978), and class by class where there are labels, as published.
"""

from dataclasses import dataclass

import numpy as np
import torch

from coreselect.budget import Budget, largest_remainder, resolve
from coreselect.errors import ShapeError
from coreselect.gradients.rows import Rows
from coreselect.protocols import TaskLike
from coreselect.selectors.gradient.example_gradients import attacked, example_rows, natural
from coreselect.solvers.covering import AT_ONCE, Cover, Distances, cover, distances
from coreselect.solvers.omp import row_of
from coreselect.task.snapshot import Snapshot
from coreselect.types import Certificate, Float64, Int64, Selection


@dataclass(frozen=True)
class CRAIG:
    """Choose examples whose gradients lie nearest to all others', weighted by how many they stand for, natural cross-entropy.

    The selection's weights are γ_j·k/N, whose mean is 1: (1/k) Σ weight_j·g_j approximates the pool's mean gradient. A pick
    stands for itself; between equally near ones the lowest index counts.

    Args:
        per_class: share the budget over the classes (largest remainder) and compare inside each, picks class by class; a
            task without labels is one class. Members of a class without a pick are counted with the nearest pick of all.
        dense_up_to: a class of at most so many examples keeps its matrix of distances; a larger one computes them whenever
            they are asked for, with the same answer in O(N) memory and more time. A note says which.
    """

    per_class: bool = True
    dense_up_to: int = 10_000
    name = "craig"
    renew = "round"

    def __post_init__(self) -> None:
        if self.dense_up_to < 0:
            raise ShapeError(f"dense_up_to counts examples from 0, got {self.dense_up_to}.")

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"gradients"})

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k, n = resolve(budget, shot.n), shot.n
            shot = self._at(shot)
            rows, notes = example_rows(shot, self.name)
            labels = shot.labels() if self.per_class and "labels" in shot.provides else np.zeros(n, np.int64)
            classes = [np.flatnonzero(labels == y) for y in np.unique(labels)]
            shares = largest_remainder(k, [len(c) for c in classes])
            parts: list[tuple[Int64, Cover]] = []
            with shot.clock("greedy"):
                for members, share in zip(classes, shares, strict=True):
                    if share:
                        parts.append((members, cover(Distances(rows, members, self.dense_up_to), share)))
                        shot.shared.progress("greedy", sum(len(p.order) for _, p in parts), k)
                picks = np.concatenate([members[p.order] for members, p in parts])
                stands = np.full(n, -1)  # [N] the pick that counts each example
                near = np.empty(n)  # [N] min_j d_ij
                for members, p in parts:
                    stands[members], near[members] = members[p.owner], p.nearest
                lost = np.flatnonzero(stands < 0)
                for at in range(0, len(lost), AT_ONCE):
                    d = distances(rows, lost[at : at + AT_ONCE], np.sort(picks)).cpu().numpy()  # [b, k]
                    stands[lost[at : at + AT_ONCE]] = np.sort(picks)[d.argmin(1)]
                    near[lost[at : at + AT_ONCE]] = d.min(1)
                counts = np.bincount(stands, minlength=n)[picks]  # γ [k]
            with shot.clock("certificate"):
                sealed = _certificate(rows, picks, counts, near, [p for _, p in parts])
            return shot.selection(
                self,
                picks,
                gains=np.concatenate([p.gains for _, p in parts]),
                weights=counts * (k / n),
                nested=len(classes) == 1,
                certificate=sealed,
                notes=(*notes, *self._notes([len(m) for m, _ in parts], len(lost), shot, rows)),
            )

    def _at(self, shot: Snapshot) -> Snapshot:
        """Whose gradients are compared."""
        return natural(shot, self.name)

    def _notes(self, sizes: list[int], lost: int, shot: Snapshot, rows: Rows) -> list[str]:
        """Say what memory was taken, and what was not as published."""
        kept, larger = [s for s in sizes if s <= self.dense_up_to], [s for s in sizes if s > self.dense_up_to]
        notes: list[str] = []
        if kept:
            width = row_of(rows, 0).element_size()
            notes.append(f"held distances inside one class at a time, at most {width * max(kept) ** 2:,} bytes")
        if larger:
            notes.append(
                f"{len(larger)} classes are larger than dense_up_to={self.dense_up_to}: their distances were computed as "
                "they were asked for"
            )
        if self.per_class and "labels" not in shot.provides:
            notes.append("there are no labels: the pool is one class")
        if lost:
            notes.append(f"{lost} examples of classes without a pick are counted with the nearest pick of all")
        return notes


@dataclass(frozen=True)
class ACSCraig(CRAIG):
    """CRAIG with gradients of the task's own loss at the attacked inputs (adversarial coreset selection).

    By Danskin's theorem the gradient of the inner maximum is the loss's gradient at the attacked input.
    """

    name = "acs_craig"

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"gradients", "example_gradients"})

    def _at(self, shot: Snapshot) -> Snapshot:
        return attacked(shot, self.name)


def _certificate(rows: Rows, picks: Int64, counts: Int64, near: Float64, parts: list[Cover]) -> Certificate:
    """State F(S), and how far the weighted sum of gradients is from the pool's."""
    left = rows.mean().double() * rows.count
    for j, count in zip(picks.tolist(), counts.tolist(), strict=True):
        left = left - count * row_of(rows, j).to(left)
    value, bound = sum(p.value for p in parts), sum(p.bound for p in parts)
    return Certificate(
        method="craig",
        value=value,
        upper_bound=bound,
        ratio=value / bound if value > 0 else None,
        assumptions=(
            "value is facility location over every set with as many picks of each class, c the class's largest distance",
            "gradient_error = ‖Σ g_i − Σ γ_j g_j‖ is at most distance_bound = Σ_i min_j ‖g_i − g_j‖, by the triangle inequality",
        ),
        details={"gradient_error": float(left.norm()), "distance_bound": float(near.sum())},
    )

"""CRAIG: Mirzasoleiman, Bilmes, Leskovec, "Coresets for data-efficient training of machine learning models", ICML 2020; at
attacked inputs: Dolatabadi, Erfani, Leckie, "ℓ∞-robustness and beyond: unleashing efficient adversarial training", ECCV 2022.

    S* = argmax_{|S| = k} F(S),   F(S) = Σ_i max_{j ∈ S} s_ij,   s_ij = c − d_ij,   d_ij = ‖g_i − g_j‖,   c = max d
    γ_j = |{i : j is i's nearest in S}|,   Σ γ_j = N
    ‖Σ_i g_i − Σ_{j ∈ S} γ_j g_j‖ ≤ Σ_i min_{j ∈ S} d_ij

greedily with lazy gains (Minoux 1978), and class by class if there are labels, as published.
"""

from dataclasses import dataclass

import numpy as np
import torch

from coreselect.budget import Budget, largest_remainder, resolve
from coreselect.errors import ShapeError
from coreselect.gradients.rows import Rows
from coreselect.planning.needs import OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.selectors.gradient.example_gradients import (
    Compared,
    example_rows,
    with_attacked_loss,
    with_natural_loss,
)
from coreselect.solvers.coverage import CoverResult, maximise
from coreselect.solvers.distance_cover import AT_ONCE, ClassDistances, DistanceCover, distances
from coreselect.solvers.omp import row_of
from coreselect.support.limits import Needs, refuse_beyond
from coreselect.task.snapshot import Snapshot
from coreselect.types import Certificate, Float64, Int64, Selection

SHORT_ROW = 128  # numbers in a row whose length is not known before a sweep over the pool
WAY_OUT = "give labels and per_class=True, or choose in windows (windowed)"


@dataclass(frozen=True)
class CRAIG:
    """Choose examples near all others in gradient space, weighted by how many examples each represents.

    The gradients are those of the task's own loss if that is natural, else of natural cross-entropy; a note says so.
    The selection's weights are γ_j·k/N, with mean 1, so (1/k) Σ weight_j·g_j approximates the pool's mean gradient. A pick
    represents itself; an example between equally near picks belongs to the one of lowest index.

    Args:
        per_class: share the budget over the classes (largest remainder) and choose inside each; a task without labels counts as
            one class. Members of a class without a pick belong to the nearest pick of all classes.
        dense_up_to: a class of at most this many examples stores its matrix of distances. A larger class computes distances
            when they are needed: the same answer, O(N) memory, more time. A note says which.
    """

    per_class: bool = True
    dense_up_to: int = 10_000
    name = "craig"
    renew = "round"

    def __post_init__(self) -> None:
        if self.dense_up_to < 0:
            raise ShapeError(f"dense_up_to must be at least 0, got {self.dense_up_to}.")

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"gradients"})

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k, n = resolve(budget, snapshot.n), snapshot.n
            labels = snapshot.labels() if self.per_class and "labels" in snapshot.provides else np.zeros(n, np.int64)
            classes = [np.flatnonzero(labels == y) for y in np.unique(labels)]
            shares = largest_remainder(k, [len(c) for c in classes])
            work = self.work(Sizes(n, k, classes=tuple(len(c) for c in classes)))
            refuse_beyond(self.name, work.of(snapshot.row_width or SHORT_ROW), n)
            compared = self._compared(snapshot)
            snapshot = compared.snapshot
            rows, notes = example_rows(snapshot, self.name)
            parts: list[tuple[Int64, CoverResult]] = []
            owner = np.full(n, -1)  # [N] the pick that represents each example
            near = np.empty(n)  # [N] min_j d_ij
            with snapshot.clock("greedy"):
                for members, share in zip(classes, shares, strict=True):
                    if share:
                        found, inside, near[members] = self._cover(rows, members, share)
                        owner[members] = members[inside]
                        parts.append((members, found))
                        snapshot.progress("greedy", sum(len(found.picks) for _, found in parts), k)
                picks = np.concatenate([members[found.picks] for members, found in parts])
                lost = np.flatnonzero(owner < 0)  # members of classes without a pick
                for at in range(0, len(lost), AT_ONCE):
                    d = distances(rows, lost[at : at + AT_ONCE], np.sort(picks)).cpu().numpy()  # [b, k]
                    owner[lost[at : at + AT_ONCE]] = np.sort(picks)[d.argmin(1)]
                    near[lost[at : at + AT_ONCE]] = d.min(1)
                counts = np.bincount(owner, minlength=n)[picks]  # γ [k]
            with snapshot.clock("certificate"):
                certificate = _certificate(rows, picks, counts, near, [found for _, found in parts])
            return snapshot.selection(
                self,
                picks,
                gains=np.concatenate([found.gains for _, found in parts]),
                weights=counts * (k / n),
                nested=len(classes) == 1,
                certificate=certificate,
                notes=(*compared.notes, *notes, *self._notes([len(m) for m, _ in parts], len(lost), snapshot, rows)),
            )

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method computes on rows: all distances inside each class, again at need in a large one."""
        counts = sizes.classes if self.per_class and sizes.classes else (sizes.n,)
        shares = largest_remainder(sizes.k, list(counts))
        pairs = sum(
            m * m if m <= self.dense_up_to else m * m + AT_ONCE * m * k for m, k in zip(counts, shares, strict=True)
        )
        stored = max((m for m in counts if m <= self.dense_up_to), default=0)
        return OwnWork("rows", lambda width: Needs(pairs * width, memory=4 * stored**2, way_out=WAY_OUT))

    def _compared(self, snapshot: Snapshot) -> Compared:
        """Return whose gradients are compared."""
        return with_natural_loss(snapshot, self.name)

    def _cover(self, rows: Rows, members: Int64, k: int) -> tuple[CoverResult, Int64, Float64]:
        """Choose k members of a class; return each member's nearest pick, numbered inside the class, and its distance."""
        cover = DistanceCover(ClassDistances(rows, members, self.dense_up_to))
        return maximise(cover, k), *cover.nearest_pick()

    def _notes(self, sizes: list[int], lost: int, snapshot: Snapshot, rows: Rows) -> list[str]:
        """Return notes on memory, and on what differs from the published method."""
        stored, larger = [s for s in sizes if s <= self.dense_up_to], [s for s in sizes if s > self.dense_up_to]
        notes: list[str] = []
        if stored:
            width = row_of(rows, 0).element_size()
            notes.append(f"stored distances inside one class at a time, at most {width * max(stored) ** 2:,} bytes")
        if larger:
            notes.append(
                f"{len(larger)} classes are larger than dense_up_to={self.dense_up_to}: their distances were computed "
                "when they were needed"
            )
        if self.per_class and "labels" not in snapshot.provides:
            notes.append("there are no labels: the pool is one class")
        if lost:
            notes.append(f"{lost} examples of classes without a pick belong to the nearest pick of all classes")
        return notes


@dataclass(frozen=True)
class ACSCraig(CRAIG):
    """CRAIG with gradients of the task's own loss at the attacked inputs (adversarial coreset selection).

    By Danskin's theorem the gradient of the inner maximum is the loss's gradient at the attacked input.
    """

    name = "acs_craig"
    attacks = frozenset({"pool"})

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"gradients", "example_gradients"})

    def _compared(self, snapshot: Snapshot) -> Compared:
        return with_attacked_loss(snapshot, self.name)


def _certificate(rows: Rows, picks: Int64, counts: Int64, near: Float64, parts: list[CoverResult]) -> Certificate:
    """State F(S), and how far the weighted sum of gradients is from the pool's."""
    error = rows.mean().double() * rows.count
    for j, count in zip(picks.tolist(), counts.tolist(), strict=True):
        error = error - count * row_of(rows, j).to(error)
    value, bound = sum(p.value for p in parts), sum(p.upper for p in parts)
    return Certificate(
        method="craig",
        value=value,
        upper_bound=bound,
        ratio=value / bound if value > 0 else None,
        assumptions=(
            "value is F(S), bounded over every set with as many picks of each class; c is the class's largest distance",
            "gradient_error = ‖Σ g_i − Σ γ_j g_j‖ is at most distance_bound = Σ_i min_j ‖g_i − g_j‖, by the triangle inequality",
        ),
        details={"gradient_error": float(error.norm()), "distance_bound": float(near.sum())},
    )

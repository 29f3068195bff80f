"""CRAIG: Mirzasoleiman, Bilmes, Leskovec, "Coresets for data-efficient training of machine learning models", ICML 2020; at
attacked inputs: Dolatabadi, Erfani, Leckie, "ℓ∞-robustness and beyond: unleashing efficient adversarial training", ECCV 2022.

    S* = argmax_{|S| = k} F(S),   F(S) = Σ_i max_{j ∈ S} s_ij,   s_ij = c − d_ij,   d_ij = ‖g_i − g_j‖,   c = max d
    γ_j = |{i : j is i's nearest in S}|,   Σ γ_j = N
    ‖Σ_i g_i − Σ_{j ∈ S} γ_j g_j‖ ≤ Σ_i min_{j ∈ S} d_ij

greedily with lazy gains (Minoux 1978), and class by class if there are labels, as published. The same cover of a validation set's
gradients in place of the pool's, which is not published, has its formulas in `validation_cover`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from coreselect.budget import Budget, largest_remainder, resolve
from coreselect.errors import ShapeError
from coreselect.gradients.joined_rows import joined
from coreselect.gradients.rows import Rows
from coreselect.planning.needs import OwnWork, Sizes, Sweep
from coreselect.protocols import TaskLike
from coreselect.selectors.gradient.cover_certificate import cover_certificate
from coreselect.selectors.gradient.example_gradients import (
    Compared,
    example_rows,
    no_examples_in_arrays,
    refuse_unattacked_gradients,
    validation_examples,
    with_attacked_loss,
    with_natural_loss,
)
from coreselect.selectors.gradient.validation_cover import cover_validation, parts_of, shares_of
from coreselect.selectors.task_checks import refuse_without_classes
from coreselect.solvers.coverage import CoverResult, maximise
from coreselect.solvers.distance_cover import AT_ONCE, ClassDistances, DistanceCover, nearest
from coreselect.solvers.omp import row_of
from coreselect.support.limits import Needs, refuse_beyond
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64, Selection

SHORT_ROW = 128  # numbers in a row whose length is not known before a sweep over the pool
WAY_OUT = "give labels and per_class=True, or choose in windows (windowed)"


@dataclass(frozen=True)
class CRAIG:
    """Choose examples near all others in gradient space, weighted by how many examples each represents.

    The gradients are those of the task's own loss if that is natural, else of natural cross-entropy; a note says so.
    The selection's weights are γ_j·k/N, with mean 1, so (1/k) Σ weight_j·g_j approximates the pool's mean gradient. A pick
    represents itself; an example between equally near picks belongs to the one of lowest index.

    With `target="validation"` the picks represent the examples of a labelled validation set U in place of the pool's: weights are
    γ_j·k/|U|, and (1/k) Σ weight_j·g_j approximates U's mean gradient. Picks that represent nobody have weight 0, so a budget far
    above |U| is of no use; they come last in their class, those nearest to U first. It needs a model, because arrays hold no
    gradients of single validation examples.

    Args:
        per_class: share the budget over the classes (largest remainder) and choose inside each; a task without labels counts as
            one class. Members of a class without a pick belong to the nearest pick of all classes. Towards validation the
            classes and their shares are those of U; a class gets no more than the pool has of it, the others get the rest.
        dense_up_to: a class of at most this many examples stores its matrix of distances. A larger class computes distances
            when they are needed: the same answer, O(N) memory, more time. A note says which. Towards validation a
            class stores a matrix of at most the square of this many numbers.
        target: `"train"`: the pool's gradients are covered; `"validation"`: those of validation.
    """

    per_class: bool = True
    dense_up_to: int = 10_000
    target: Literal["train", "validation"] = "train"
    name = "craig"
    renew = "round"

    def __post_init__(self) -> None:
        if self.target not in ("train", "validation"):
            raise ShapeError(f"target must be 'train' or 'validation', got {self.target!r}.")
        if self.dense_up_to < 0:
            raise ShapeError(f"dense_up_to must be at least 0, got {self.dense_up_to}.")

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"gradients"} | ({"validation"} if self.target == "validation" else set()))

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k, n = resolve(budget, snapshot.n), snapshot.n
            if self.target == "validation":
                return self._towards_validation(snapshot, k)
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
                owner[lost], near[lost] = nearest(rows, lost, np.sort(picks))
                counts = np.bincount(owner, minlength=n)[picks]  # γ [k]
            with snapshot.clock("certificate"):
                total = rows.mean().double() * n
                found = [found for _, found in parts]
                certificate, rounded = cover_certificate(rows, total, picks, counts, near, np.arange(n), found)
            return snapshot.selection(
                self,
                picks,
                gains=np.concatenate([found.gains for _, found in parts]),
                weights=counts * (k / n),
                nested=len(classes) == 1,
                certificate=certificate,
                notes=(
                    *compared.notes,
                    *notes,
                    *self._memory([(len(m), len(m)) for m, _ in parts], rows),
                    *self._classes("labels" in snapshot.provides, len(lost)),
                    *rounded,
                ),
            )

    def _towards_validation(self, snapshot: Snapshot, k: int) -> Selection:
        """Choose for the validation set."""
        compared = self._compared(snapshot)
        held, snapshot = validation_examples(compared, self.name), compared.snapshot
        target, _ = example_rows(held, self.name)  # first, because it is short and may refuse
        n, (parts, one_class) = snapshot.n, parts_of(snapshot, held, self.per_class)
        shares, sizes = shares_of(parts, k), [(len(members), len(covered)) for members, covered in parts]
        refuse_beyond(self.name, self._work(sizes, shares).of(snapshot.row_width or SHORT_ROW), n)
        rows, notes = example_rows(snapshot, self.name)
        rows = joined(rows, target)
        with snapshot.clock("greedy"):
            report = snapshot.progress
            found = cover_validation(rows, n, parts, shares, k, self.dense_up_to, lambda p: report("greedy", p, k))
        with snapshot.clock("certificate"):
            total = target.mean().double() * held.n
            covered = np.arange(n, n + held.n)
            certificate, rounded = cover_certificate(
                rows, total, found.picks, found.counts, found.near, covered, found.parts
            )
        return snapshot.selection(
            self,
            found.picks,
            gains=found.gains,
            weights=found.counts.astype(np.float64) * (k / held.n),
            nested=len(parts) == 1,
            certificate=certificate,
            notes=(*compared.notes, *notes, *self._memory(sizes, rows), *one_class, *found.notes(), *rounded),
        )

    def costs(self, sizes: Sizes) -> tuple[Sweep, ...]:
        """Return the sweeps: over the pool, and over validation where its gradients are covered."""
        if sizes.arrays and self.target == "validation":
            raise no_examples_in_arrays(self.name)
        loss: Literal["own", "natural"] = "own" if "pool" in getattr(self, "attacks", ()) else "natural"
        swept = (sizes.n,) if self.target == "train" else (sizes.n, sizes.validation)
        return tuple(Sweep(n, loss, rows=n) for n in swept)

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method computes on rows: all distances inside each class, again at need in a large one."""
        counts = sizes.classes if self.per_class and sizes.classes else (sizes.n,)
        covered = counts if self.target == "train" else [-(-sizes.validation * m // sizes.n) for m in counts]
        return self._work(list(zip(counts, covered, strict=True)), largest_remainder(sizes.k, list(counts)))

    def _work(self, sizes: list[tuple[int, int]], shares: list[int]) -> OwnWork:
        """Return the work in classes of so many candidates and covered examples, and of so many picks."""
        again = sum(AT_ONCE * m * k for (n, m), k in zip(sizes, shares, strict=True) if not self._stores(n, m))
        pairs = sum(n * m for n, m in sizes) + again
        stored = max((n * m for n, m in sizes if self._stores(n, m)), default=0)
        return OwnWork("rows", lambda width: Needs(pairs * width, memory=4 * stored, way_out=WAY_OUT))

    def _stores(self, n: int, m: int) -> bool:
        """Say whether a class stores its matrix of n × m distances."""
        return n * m <= self.dense_up_to**2

    def refuse(self, task: TaskLike) -> None:
        """Refuse a task whose natural gradients the method cannot read."""
        refuse_without_classes(task, self.name)

    def _compared(self, snapshot: Snapshot) -> Compared:
        """Return whose gradients are compared."""
        return with_natural_loss(snapshot, self.name)

    def _cover(self, rows: Rows, members: Int64, k: int) -> tuple[CoverResult, Int64, Float64]:
        """Choose k members of a class; return each member's nearest pick, numbered inside the class, and its distance."""
        cover = DistanceCover(ClassDistances(rows, members, self.dense_up_to))
        return maximise(cover, k), *cover.nearest_pick()

    def _memory(self, sizes: Sequence[tuple[int, int]], rows: Rows) -> list[str]:
        """Return notes on the distances in classes of so many candidates and covered examples."""
        stored = [n * m for n, m in sizes if self._stores(n, m)]
        larger = len(sizes) - len(stored)
        notes: list[str] = []
        if stored:
            width = row_of(rows, 0).element_size()
            notes.append(f"stored distances inside one class at a time, at most {width * max(stored):,} bytes")
        if larger:
            notes.append(
                f"{larger} classes are larger than dense_up_to={self.dense_up_to}: their distances were computed "
                "when they were needed"
            )
        return notes

    def _classes(self, known: bool, lost: int) -> list[str]:
        """Return notes on classes that are not known, and on examples of classes without a pick."""
        notes = ["there are no labels: the pool is one class"] if self.per_class and not known else []
        if lost:
            notes.append(f"{lost} examples of classes without a pick belong to the nearest pick of all classes")
        return notes


@dataclass(frozen=True)
class ACSCraig(CRAIG):
    """CRAIG with gradients of the task's own loss at the attacked inputs (adversarial coreset selection).

    By Danskin's theorem the gradient of the inner maximum is the loss's gradient at the attacked input. With
    `target="validation"` the covered gradients are those of the same loss at validation inputs, attacked as the pool is.
    """

    name = "acs_craig"
    attacks = frozenset({"pool"})

    @property
    def requires(self) -> frozenset[str]:
        return super().requires | {"example_gradients"}

    def refuse(self, task: TaskLike) -> None:
        """Refuse a task whose loss attacks no inputs."""
        refuse_unattacked_gradients(task, self.name)

    def _compared(self, snapshot: Snapshot) -> Compared:
        return with_attacked_loss(snapshot, self.name)

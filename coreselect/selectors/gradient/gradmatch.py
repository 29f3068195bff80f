"""GradMatch: Killamsetty, Sivasubramanian, Ramakrishnan, De, Iyer, "GRAD-MATCH: gradient matching based data subset selection
for efficient deep model training", ICML 2021; at attacked inputs: Dolatabadi, Erfani, Leckie, "ℓ∞-robustness and beyond:
unleashing efficient adversarial training", ECCV 2022.

    min over w ≥ 0, |S| ≤ k of ‖Σ_{i ∈ S} w_i g_i − b‖² + λ‖w‖²,   b = the pool's mean gradient, or validation's

by orthogonal matching pursuit (`coreselect.solvers.omp`). The published forms match class by class (`PerClass(GradMatch())`),
or match mini-batches instead of examples (not available here).
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import RequirementError, ShapeError
from coreselect.planning.needs import OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.selectors.gradient.example_gradients import (
    Compared,
    example_rows,
    refuse_unattacked_gradients,
    validation_query,
    with_attacked_loss,
    with_natural_loss,
)
from coreselect.selectors.gradient.row_work import passes_over_rows, refuse_rows
from coreselect.selectors.task_checks import refuse_without_classes
from coreselect.solvers.omp import Matching, omp
from coreselect.support.limits import Needs
from coreselect.task.snapshot import Snapshot
from coreselect.types import Certificate, Selection


@dataclass(frozen=True)
class GradMatch:
    """Choose and weigh examples so that their gradients add up to the pool's mean.

    The gradients are those of the task's own loss if that is natural, else of natural cross-entropy; a note says so.

    The selection's weights are k·w_i, so (1/k) Σ weight_i·ℓ_i has the matched gradient.

    Args:
        target: `"train"`: the pool's mean gradient; `"validation"`: the gradient of validation (which needs labels there if
            there is a model).
        ridge: λ ≥ 0 in units of the mean ‖g_i‖², so that the answer does not depend on the scale of the loss (the paper's
            λ = 0.5 is absolute). A larger λ spreads the weight over more examples.
        dense_up_to: largest possible number of picks; k rows and a k×k factor are stored in float64.
    """

    target: Literal["train", "validation"] = "train"
    ridge: float = 1e-3
    dense_up_to: int = 10_000
    name = "gradmatch"
    renew = "round"

    def __post_init__(self) -> None:
        if self.target not in ("train", "validation"):
            raise ShapeError(f"target must be 'train' or 'validation', got {self.target!r}.")
        if not 0 <= self.ridge < float("inf") or self.dense_up_to < 1:
            raise ShapeError(
                f"ridge must be finite and at least 0 and dense_up_to at least 1, got {self.ridge} and {self.dense_up_to}."
            )

    @property
    def requires(self) -> frozenset[str]:
        return frozenset({"gradients"} | ({"validation"} if self.target == "validation" else set()))

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method reads of rows: all of them at every pick, and its k rows and their k×k factor in float64."""
        k = sizes.k

        def of(w: int) -> Needs:
            passes = passes_over_rows(sizes, w, k)
            return replace(passes, read=passes.read + 16 * k * k * w, memory=8 * k * (w + k))

        return OwnWork("rows", of)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k = resolve(budget, snapshot.n)
            if k > self.dense_up_to:
                raise RequirementError(
                    f"{self.name!r} needs a {k}×{k} factor of {8 * k * k / 2**20:.0f} MiB, and dense_up_to={self.dense_up_to}: "
                    f"match class by class (per_class), window by window (windowed), or raise dense_up_to."
                )
            refuse_rows(snapshot, self, k, self.name)
            compared = self._compared(snapshot)
            snapshot = compared.snapshot
            query = None if self.target == "train" else validation_query(snapshot, self.name, compared.objective)
            rows, notes = example_rows(snapshot, self.name)
            notes = (*compared.notes, *notes)
            b = rows.mean() if query is None else rows.project(query)  # [W]
            with snapshot.clock("greedy"):
                found = omp(
                    rows,
                    b,
                    k,
                    lam=self.ridge * float((rows.norms() ** 2).mean()),
                    tick=partial(snapshot.progress, "greedy"),
                )
            weighted = found.matched > 0
            if found.matched < k:
                notes = (*notes, _completed(found, k))
            return snapshot.selection(
                self,
                found.order,
                gains=found.correlations,
                weights=k * found.weights if weighted else None,
                scores=rows.scores(b).double().cpu().numpy(),
                notes=(
                    *notes,
                    f"stored {k} rows of {len(b)} numbers and a {k}×{k} factor, {8 * k * (len(b) + k):,} bytes",
                ),
                certificate=_certificate(found, float(b.double().norm())),
            )

    def refuse(self, task: TaskLike) -> None:
        """Refuse a task whose natural gradients the method cannot read."""
        refuse_without_classes(task, self.name)

    def _compared(self, snapshot: Snapshot) -> Compared:
        """Return whose gradients are matched, in the pool and on validation."""
        return with_natural_loss(snapshot, self.name)


@dataclass(frozen=True)
class ACSGradMatch(GradMatch):
    """GradMatch with gradients of the task's own loss at the attacked inputs (adversarial coreset selection).

    By Danskin's theorem the gradient of the inner maximum is the loss's gradient at the attacked input. With
    `target="validation"` the matched gradient is that of cross-entropy at validation inputs, attacked as the pool is.
    """

    name = "acs_gradmatch"
    attacks = frozenset({"pool"})

    @property
    def requires(self) -> frozenset[str]:
        return super().requires | {"example_gradients"}

    def refuse(self, task: TaskLike) -> None:
        """Refuse a task whose loss attacks no inputs."""
        refuse_unattacked_gradients(task, self.name)

    def _compared(self, snapshot: Snapshot) -> Compared:
        return with_attacked_loss(snapshot, self.name)


def _completed(found: Matching, k: int) -> str:
    """Return a note on how the count was completed."""
    if not found.matched:
        return (
            "no gradient has a positive correlation with the target: picks are in order of correlation, without weights"
        )
    return (
        f"matching ended after {found.matched} of {k} picks, because no gradient lowers the residual further: "
        "the others follow in order of correlation, with weight 0"
    )


def _certificate(found: Matching, size: float) -> Certificate:
    """State the residual, and how much of ‖b‖² the picks explain."""
    value = size**2 - found.objective
    return Certificate(
        method="gradmatch",
        value=value,
        upper_bound=size**2,
        ratio=value / size**2 if value > 0 else None,
        assumptions=(
            "value is the decrease of ‖Σ w_i g_i − b‖² + λ‖w‖² from w = 0; it cannot be above ‖b‖²",
            "residual is ‖Σ w_i g_i − b‖ with the final w",
        ),
        details={"residual": found.residual, "target_norm": size, "matched": float(found.matched)},
    )

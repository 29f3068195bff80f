"""GradMatch: Killamsetty, Sivasubramanian, Ramakrishnan, De, Iyer, "GRAD-MATCH: gradient matching based data subset selection
for efficient deep model training", ICML 2021; at attacked points: Dolatabadi, Erfani, Leckie, "ℓ∞-robustness and beyond:
unleashing efficient adversarial training", ECCV 2022.

    min over w ≥ 0, |S| ≤ k of ‖Σ_{i ∈ S} w_i g_i − b‖² + λ‖w‖²,   b = the pool's mean gradient, or validation's

by orthogonal matching pursuit (`coreselect.solvers.omp`). The published forms match class by class (`PerClass(GradMatch())`) or
mini-batches in place of examples (not here).
"""

from dataclasses import dataclass
from typing import Literal

import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import RequirementError, ShapeError
from coreselect.objectives import Objective
from coreselect.protocols import TaskLike
from coreselect.selectors.gradient.example_gradients import (
    NaturalCE,
    attacked,
    attacked_objective,
    example_rows,
    natural,
    validation_query,
)
from coreselect.solvers.omp import Matching, omp
from coreselect.task.snapshot import Snapshot
from coreselect.types import Certificate, Selection


@dataclass(frozen=True)
class GradMatch:
    """Choose and weigh examples so that their gradients add up to the pool's mean, natural cross-entropy.

    The selection's weights are k·w_i: (1/k) Σ weight_i·ℓ_i has the matched gradient.

    Args:
        target: `"train"`, the pool's mean gradient, or `"validation"`, that of validation (a model's needs labels there).
        ridge: λ in units of the mean ‖g_i‖², ≥ 0, so that the answer does not change with the scale of the loss; the paper's
            λ = 0.5 is absolute. Spreads the weight over more examples.
        dense_up_to: picks ≤ this; k rows and a k×k factor in float64 are held, and more are refused.
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

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k = resolve(budget, shot.n)
            if k > self.dense_up_to:
                raise RequirementError(
                    f"{self.name!r} would hold a {k}×{k} factor of {8 * k * k / 2**20:.0f} MiB, dense_up_to={self.dense_up_to}: "
                    f"match class by class (per_class), window by window, or raise dense_up_to."
                )
            shot = self._at(shot)
            query = None if self.target == "train" else validation_query(shot, self.name, self._objective(shot))
            rows, notes = example_rows(shot, self.name)
            b = rows.mean() if query is None else rows.project(query)  # [W]
            with shot.clock("greedy"):
                found = omp(
                    rows,
                    b,
                    k,
                    lam=self.ridge * float((rows.norms() ** 2).mean()),
                    tick=lambda done, total: shot.shared.progress("greedy", done, total),
                )
            weighted = found.matched > 0
            if found.matched < k:
                notes = (*notes, _completed(found, k))
            return shot.selection(
                self,
                found.order,
                gains=found.correlations,
                weights=k * found.weights if weighted else None,
                scores=rows.scores(b).double().cpu().numpy(),
                notes=(
                    *notes,
                    f"held {k} rows of {len(b)} numbers and a {k}×{k} factor, {8 * k * (len(b) + k):,} bytes",
                ),
                certificate=_certificate(found, float(b.double().norm())),
            )

    def _at(self, shot: Snapshot) -> Snapshot:
        """Whose gradients are matched."""
        return natural(shot, self.name)

    def _objective(self, shot: Snapshot) -> Objective:
        """What is matched on validation."""
        return NaturalCE()


@dataclass(frozen=True)
class ACSGradMatch(GradMatch):
    """GradMatch with gradients of the task's own loss at the attacked inputs (adversarial coreset selection).

    By Danskin's theorem the gradient of the inner maximum is the loss's gradient at the attacked input. With
    `target="validation"` it is cross-entropy's, at validation inputs attacked as the task attacks its pool.
    """

    name = "acs_gradmatch"

    @property
    def requires(self) -> frozenset[str]:
        return super().requires | {"example_gradients"}

    def _at(self, shot: Snapshot) -> Snapshot:
        return attacked(shot, self.name)

    def _objective(self, shot: Snapshot) -> Objective:
        return attacked_objective(shot)


def _completed(found: Matching, k: int) -> str:
    """Say how the count was completed."""
    if not found.matched:
        return "no gradient has a positive correlation with the target: picks are by correlation, without weights"
    return (
        f"matching ended after {found.matched} of {k} picks, no gradient lowers the residual further: "
        "the others follow by correlation, with weight 0"
    )


def _certificate(found: Matching, size: float) -> Certificate:
    """State the residual, and how much of ‖b‖² is explained."""
    value = size**2 - found.objective
    return Certificate(
        method="gradmatch",
        value=value,
        upper_bound=size**2,
        ratio=value / size**2 if value > 0 else None,
        assumptions=(
            "value is the decrease of ‖Σ w_i g_i − b‖² + λ‖w‖² from w = 0; none can pass ‖b‖²",
            "residual is ‖Σ w_i g_i − b‖ with the final w",
        ),
        details={"residual": found.residual, "target_norm": size, "matched": float(found.matched)},
    )

"""What methods that pick single examples by gradients ask of a snapshot: whose gradients, one row an example, validation's."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from coreselect.errors import NonFiniteError, RequirementError
from coreselect.gradients.rows import Rows, single_examples
from coreselect.gradients.sketch import Sketch
from coreselect.losses import CE
from coreselect.objectives import AdversarialCE, Objective
from coreselect.protocols import Attack, Views
from coreselect.task.model_snapshot import ModelSnapshot
from coreselect.task.snapshot import Snapshot


@dataclass(frozen=True)
class Still:
    """The attack that leaves inputs where they are."""

    @property
    def random_start(self) -> bool:
        return False

    def __call__(self, ascend: Callable[[Views], Tensor], inputs: Views, noise: Views) -> Views:
        return inputs


@dataclass(frozen=True)
class NaturalCE(Objective):
    """Cross-entropy of natural validation inputs, in nats; needs validation labels."""

    attack: Attack = field(default=Still(), kw_only=True)
    name: ClassVar[str] = "natural_ce"
    needs_labels: ClassVar[bool] = True

    def value(self, adversarial: Tensor, natural: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None  # needs_labels is checked where the objective is opened
        return F.cross_entropy(natural, labels, reduction="none")


def natural(shot: Any, name: str) -> Snapshot:
    """Return the snapshot whose rows are of natural cross-entropy; gradients that came as arrays stay what they are.

    Raises:
        RequirementError: there is a model, and its pool has no labels or it was trained without them.
    """
    if "inputs" in shot.provides and "labels" not in shot.provides:
        raise RequirementError(
            f"{name!r} reads gradients of cross-entropy, and the pool's items carry no labels: give (x, y) items, "
            f"or choose without labels by 'rcs'."
        )
    return shot.under(CE())


def attacked(shot: Snapshot, name: str) -> Snapshot:
    """Return the snapshot itself, whose rows are of the task's own loss at attacked points.

    Raises:
        RequirementError: the loss attacks nothing.
    """
    if isinstance(shot, ModelSnapshot) and not any(route == "adversarial" for route, _ in shot.task.loss.streams):
        raise RequirementError(
            f"{name!r} takes gradients at attacked inputs, and the loss {shot.task.loss.name!r} attacks none: "
            f"give an adversarial loss, such as loss='sat', or choose {name.removeprefix('acs_')!r}."
        )
    return shot


def example_rows(shot: Snapshot, name: str) -> tuple[Rows, tuple[str, ...]]:
    """Return one row an example, and a note where they are sketched.

    Raises:
        RequirementError: the gradients that there are belong to groups.
    """
    if shot.fixed_groups is not None:
        raise RequirementError(
            f"{name!r} picks single examples, and this task's gradients are of groups: give gradients per example."
        )
    sketch = Sketch() if shot.needs_sketch else None
    rows, _ = shot.rows(single_examples(shot.n), sketch)
    notes = () if sketch is None else (f"gradients reach beyond the head and are sketched to {sketch.width} numbers",)
    return rows, notes


def validation_query(shot: Snapshot, name: str, spec: Objective) -> Tensor:
    """Return ∇L_V(θ) [P] of an objective on validation, or the one that came as an array.

    Raises:
        RequirementError: validation has no labels.
        NonFiniteError: the gradient is not finite.
    """
    if isinstance(shot, ModelSnapshot) and "validation_labels" not in shot.provides:
        raise RequirementError(
            f"{name!r} reads the gradient of cross-entropy on validation, whose items carry no labels: give (x, y) items."
        )
    query = shot.objective(spec).query(shot.theta())
    if not bool(torch.isfinite(query).all()):
        raise NonFiniteError("the validation gradient is not finite: look whether the model has diverged.")
    return query


def attacked_objective(shot: Snapshot) -> Objective:
    """Cross-entropy of validation inputs attacked as the task attacks its pool."""
    own = shot.task.attack if isinstance(shot, ModelSnapshot) else None
    return AdversarialCE() if own is None else replace(AdversarialCE(), attack=own)

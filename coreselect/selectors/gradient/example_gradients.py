"""The gradients of single examples, of the natural or the attacked loss, and the validation gradient they are compared with."""

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
from coreselect.selectors.checks import nonzero_query, zero_note
from coreselect.task.model_snapshot import ModelSnapshot
from coreselect.task.snapshot import Snapshot


@dataclass(frozen=True)
class NoAttack:
    """The attack that changes nothing."""

    @property
    def random_start(self) -> bool:
        return False

    def __call__(self, ascend: Callable[[Views], Tensor], inputs: Views, noise: Views) -> Views:
        return inputs


@dataclass(frozen=True)
class NaturalCE(Objective):
    """Cross-entropy of natural validation inputs, in nats; needs validation labels."""

    attack: Attack | None = field(default=NoAttack(), kw_only=True)
    name: ClassVar[str] = "natural_ce"
    needs_labels: ClassVar[bool] = True

    def value(self, adversarial: Tensor, natural: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None  # needs_labels is checked where the objective is opened
        return F.cross_entropy(natural, labels, reduction="none")


def with_natural_loss(snapshot: Any, name: str) -> Snapshot:
    """Return a snapshot whose rows are gradients of natural cross-entropy; gradients that came as arrays stay as they are.

    Args:
        name: of the method, for an error message.
    Raises:
        RequirementError: there is a model, and its pool has no labels or it was trained without labels.
    """
    if "inputs" in snapshot.provides and "labels" not in snapshot.provides:
        raise RequirementError(
            f"{name!r} reads gradients of cross-entropy, and the pool's items have no labels: give (x, y) items, "
            f"or choose without labels by 'rcs'."
        )
    return snapshot.with_loss(CE())


def with_attacked_loss(snapshot: Snapshot, name: str) -> Snapshot:
    """Return the snapshot itself: its rows are gradients of the task's own loss at attacked inputs.

    Args:
        name: of the method, for an error message.
    Raises:
        RequirementError: the loss attacks no inputs.
    """
    if isinstance(snapshot, ModelSnapshot) and not any(
        route == "adversarial" for route, _ in snapshot.task.loss.streams
    ):
        raise RequirementError(
            f"{name!r} reads gradients at attacked inputs, and the loss {snapshot.task.loss.name!r} attacks no inputs: "
            f"give an adversarial loss, such as loss='sat', or choose {name.removeprefix('acs_')!r}."
        )
    return snapshot


def example_rows(snapshot: Snapshot, name: str) -> tuple[Rows, tuple[str, ...]]:
    """Return one row per example, and a note if they are sketched.

    Args:
        name: of the method, for an error message.
    Raises:
        RequirementError: the task's gradients belong to groups.
    """
    if snapshot.fixed_groups is not None:
        raise RequirementError(
            f"{name!r} picks single examples, and this task has one gradient per group: give one gradient per example."
        )
    sketch = Sketch() if snapshot.needs_sketch else None
    rows, _ = snapshot.rows(single_examples(snapshot.n), sketch)
    notes = () if sketch is None else (f"gradients reach beyond the head and are sketched to {sketch.width} numbers",)
    return rows, notes


def validation_query(snapshot: Snapshot, name: str, spec: Objective) -> Tensor:
    """Return the gradient ∇L_V(θ) [P] of an objective on validation, or the one that came as an array.

    Args:
        name: of the method, for an error message.
    Raises:
        RequirementError: validation has no labels, or the gradient is exactly zero.
        NonFiniteError: the gradient is not finite.
    """
    if isinstance(snapshot, ModelSnapshot) and "validation_labels" not in snapshot.provides:
        raise RequirementError(
            f"{name!r} reads the gradient of cross-entropy on validation, whose items have no labels: give (x, y) items."
        )
    query = snapshot.objective(spec).query(snapshot.theta())
    if not bool(torch.isfinite(query).all()):
        raise NonFiniteError("the validation gradient is not finite: check whether the model has diverged.")
    return nonzero_query(query, snapshot, name)


def natural_gradients(snapshot: Any, name: str) -> tuple[Snapshot, Tensor, Rows, tuple[str, ...]]:
    """Return what methods need that compare natural gradients with validation's.

    Args:
        name: of the method, for an error message.
    Returns:
        The snapshot with natural cross-entropy as its loss, validation's gradient [P], one row per example, and notes.
    Raises:
        RequirementError, NonFiniteError: as `with_natural_loss`, `validation_query` and `example_rows` say.
    """
    snapshot = with_natural_loss(snapshot, name)
    query = validation_query(snapshot, name, NaturalCE())
    rows, notes = example_rows(snapshot, name)
    return snapshot, query, rows, (*notes, *zero_note(query))


def attacked_objective(snapshot: Snapshot) -> Objective:
    """Return cross-entropy of validation inputs, attacked in the same way as the task attacks its pool."""
    own = snapshot.task.attack if isinstance(snapshot, ModelSnapshot) else None
    return AdversarialCE() if own is None else replace(AdversarialCE(), attack=own)

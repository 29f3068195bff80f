"""The gradients of single examples, of the natural or the attacked loss, and the validation gradient they are compared with."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor

from coreselect.errors import NonFiniteError, RequirementError
from coreselect.gradients.loss_value import checked_loss_value
from coreselect.gradients.rows import Rows, single_examples
from coreselect.gradients.sketch import Sketch
from coreselect.losses import CE
from coreselect.losses.natural import natural_loss
from coreselect.losses.targets import reads_classes
from coreselect.objectives import AdversarialCE, Objective
from coreselect.protocols import Attack, Loss, Views
from coreselect.selectors.checks import nonzero_query, zero_note
from coreselect.selectors.task_checks import refuse_unattacked, refuse_without_classes
from coreselect.support.finite_checks import check_finite
from coreselect.task.model_snapshot import ModelSnapshot
from coreselect.task.of_validation import of_validation
from coreselect.task.snapshot import Snapshot
from coreselect.task.targets import why_no_classes

LARGEST = 1e18  # length of a gradient whose products with others are still float32 numbers


@dataclass(frozen=True)
class NoAttack:
    """The attack that changes nothing."""

    changes_nothing = True

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


@dataclass(frozen=True, eq=False)
class NaturalLoss(Objective):
    """The task's own natural loss of validation inputs; needs the targets that the loss reads."""

    loss: Loss
    attack: Attack | None = field(default=NoAttack(), kw_only=True)
    name: ClassVar[str] = "natural_loss"
    needs_labels: ClassVar[bool] = False  # the loss itself says what it reads

    def value(self, adversarial: Tensor, natural: Tensor, labels: Tensor | None) -> Tensor:
        return checked_loss_value(self.loss, {("natural", 0): natural}, labels)


@dataclass(frozen=True, eq=False)
class Compared:
    """Whose gradients a method compares.

    Attributes:
        snapshot: its rows are those gradients.
        objective: the same loss on validation.
        notes: what differs from the task's own loss, for provenance.
    """

    snapshot: Snapshot
    objective: Objective
    notes: tuple[str, ...] = ()


def with_natural_loss(snapshot: Any, name: str) -> Compared:
    """Compare gradients of the task's own loss if that is natural, else of natural cross-entropy.

    Gradients that came as arrays stay as they are.

    Args:
        name: of the method, for an error message.
    Raises:
        RequirementError: cross-entropy is compared, and the pool has no labels or its model was trained without labels.
    """
    if not isinstance(snapshot, ModelSnapshot):
        return Compared(snapshot, NaturalCE())
    loss, notes = natural_loss(snapshot.task.loss)
    if type(loss) is CE:
        refuse_without_classes(snapshot.task, name)
        return Compared(snapshot.with_loss(loss), NaturalCE(), notes)
    return Compared(snapshot, NaturalLoss(loss), notes)


def refuse_unattacked_gradients(task: Any, name: str) -> None:
    """Refuse a task whose loss attacks no inputs, for a method that reads gradients at attacked inputs.

    Raises:
        RequirementError: see above.
    """
    refuse_unattacked(task, name, "gradients", name.removeprefix("acs_"))


def with_attacked_loss(snapshot: Snapshot, name: str) -> Compared:
    """Compare gradients of the task's own loss at attacked inputs, with cross-entropy of validation attacked likewise.

    Args:
        name: of the method, for an error message.
    Raises:
        RequirementError: the loss attacks no inputs.
    """
    if isinstance(snapshot, ModelSnapshot):
        refuse_unattacked_gradients(snapshot.task, name)
    return Compared(snapshot, attacked_objective(snapshot))


def example_rows(snapshot: Snapshot, name: str) -> tuple[Rows, tuple[str, ...]]:
    """Return one row per example, and a note if they are sketched.

    Args:
        name: of the method, for an error message.
    Raises:
        RequirementError: the task's gradients belong to groups.
        NonFiniteError: gradients are so long that their products overflow.
    """
    if snapshot.fixed_groups is not None:
        raise RequirementError(
            f"{name!r} picks single examples, and this task has one gradient per group: give one gradient per example."
        )
    sketch = Sketch() if snapshot.needs_sketch else None
    rows, _ = snapshot.rows(single_examples(snapshot.n), sketch)
    check_finite(rows.longest(), "gradients", snapshot.positions, limit=LARGEST)
    notes = () if sketch is None else (f"gradients reach beyond the head and are sketched to {sketch.width} numbers",)
    return rows, notes


def validation_query(snapshot: Snapshot, name: str, spec: Objective) -> Tensor:
    """Return the gradient ∇L_V(θ) [P] of an objective on validation, or the one that came as an array.

    Args:
        name: of the method, for an error message.
    Raises:
        RequirementError: validation has no labels, or the gradient is exactly zero.
        NonFiniteError: the gradient is not finite, or so long that products with it overflow.
    """
    reads = spec.loss.needs_labels if isinstance(spec, NaturalLoss) else True
    if isinstance(snapshot, ModelSnapshot) and reads and "validation_labels" not in snapshot.provides:
        raise RequirementError(
            f"{name!r} reads the gradient of cross-entropy on validation, whose items have no labels: give (x, y) items."
        )
    query = snapshot.objective(spec).query(snapshot.theta())
    if not float(query.double().norm()) < LARGEST:  # NaN is not less
        raise NonFiniteError(
            f"the validation gradient is not finite, or as long as {LARGEST:g} and above: check whether the model has diverged."
        )
    return nonzero_query(query, snapshot, name)


def validation_examples(compared: Compared, name: str) -> ModelSnapshot:
    """Return the validation examples, whose rows are gradients of the same loss as those of the pool.

    Args:
        name: of the method, for an error message.
    Raises:
        RequirementError: the task is made of arrays, or validation lacks the targets that the loss reads.
    """
    snapshot = compared.snapshot
    if not isinstance(snapshot, ModelSnapshot):
        raise no_examples_in_arrays(name)
    loss, targets = snapshot.task.loss, snapshot.task.validation_targets
    if loss.needs_labels and (targets is None or (reads_classes(loss) and not targets.classes)):
        why = why_no_classes(targets) or "validation's items have no labels"
        raise RequirementError(
            f"{name!r} reads gradients of the loss {loss.name!r} on validation, and {why}: give (x, y) items, or choose without "
            "labels by 'rcs'."
        )
    return of_validation(snapshot)


def no_examples_in_arrays(name: str) -> RequirementError:
    """Return the error of a method that needs what arrays have not."""
    return RequirementError(
        f"{name!r} with target='validation' needs a gradient of every validation example, and arrays hold only their mean, "
        "validation_gradient: give a model (Task.from_model), or choose 'gradmatch' with target='validation'."
    )


def natural_gradients(snapshot: Any, name: str) -> tuple[Compared, Tensor, Rows, tuple[str, ...]]:
    """Return what methods need that compare natural gradients with validation's.

    Args:
        name: of the method, for an error message.
    Returns:
        Whose gradients are compared, validation's gradient [P], one row per example, and notes.
    Raises:
        RequirementError, NonFiniteError: as `with_natural_loss`, `validation_query` and `example_rows` say.
    """
    compared = with_natural_loss(snapshot, name)
    query = validation_query(compared.snapshot, name, compared.objective)
    rows, notes = example_rows(compared.snapshot, name)
    return compared, query, rows, (*compared.notes, *notes, *zero_note(query))


def attacked_objective(snapshot: Snapshot) -> Objective:
    """Return cross-entropy of validation inputs, attacked in the same way as the task attacks its pool."""
    own = snapshot.task.attack if isinstance(snapshot, ModelSnapshot) else None
    return AdversarialCE() if own is None else replace(AdversarialCE(), attack=own)

"""What methods refuse of a task before anything is read or trained: a loss whose gradients or attacked inputs they cannot read."""

from typing import Any

from coreselect.errors import RequirementError
from coreselect.losses import CE
from coreselect.losses.natural import natural_loss
from coreselect.task.recipe import ModelRecipe
from coreselect.task.targets import why_no_classes


def refuse_without_classes(task: Any, name: str) -> None:
    """Refuse a task with a model for a method that reads the task's natural loss, or else natural cross-entropy.

    Args:
        task: anything but a task with a model passes: its gradients came as arrays.
        name: of the method, for the message.
    Raises:
        RequirementError: cross-entropy is read, and the pool has no labels or the network was trained without labels.
    """
    if not isinstance(task, ModelRecipe) or type(natural_loss(task.loss)[0]) is not CE:
        return
    if "labels" not in task.provides:
        why = why_no_classes(task.pool_targets) or "the pool's items have no labels"
        raise RequirementError(
            f"{name!r} reads gradients of cross-entropy, and {why}: give (x, y) items, or choose without labels by 'rcs'."
        )
    if not task.loss.needs_labels:
        raise RequirementError(
            f"{name!r} reads gradients of cross-entropy, and this task has no classifier: its network is trained without labels "
            f"(loss {task.loss.name!r}); give a supervised loss, such as loss='sat', or choose without labels by 'rcs'."
        )


def refuse_unattacked(task: Any, name: str, what: str, instead: str) -> None:
    """Refuse a task with a model whose loss attacks no inputs, for a method that reads attacked inputs.

    Args:
        task: anything but a task with a model passes: what it lacks is said by its requirements.
        name: of the method, for the message.
        what: it reads at attacked inputs.
        instead: the method that reads the same at natural inputs.
    Raises:
        RequirementError: see above.
    """
    if isinstance(task, ModelRecipe) and not any(route == "adversarial" for route, _ in task.loss.streams):
        raise RequirementError(
            f"{name!r} reads {what} at attacked inputs, and the loss {task.loss.name!r} attacks no inputs: "
            f"give an adversarial loss, such as loss='sat', or choose {instead!r}."
        )

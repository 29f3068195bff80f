"""Which losses have a natural gradient of their own, so that methods compare it instead of cross-entropy's."""

from coreselect.losses.supervised import CE
from coreselect.protocols import Loss


def is_natural(loss: Loss) -> bool:
    """Return whether the loss has one value per example and reads only the outputs of natural inputs, in one view."""
    return loss.per_example and loss.views == 1 and all(route == "natural" for route, _ in loss.streams)


def natural_loss(loss: Loss) -> tuple[Loss, tuple[str, ...]]:
    """Return the loss whose gradients are compared on natural inputs, and a note where it is not the task's own loss.

    It is the task's own loss if that is natural, else cross-entropy, as the methods' papers have it.
    """
    if is_natural(loss):
        return loss, ()
    return CE(), (f"gradients of cross-entropy on natural inputs were compared; the task's loss is {loss.name}",)

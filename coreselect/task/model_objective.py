"""An objective on a model's validation inputs, and the training loss's gradient on the same inputs."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.errors import RequirementError
from coreselect.gradients.inputs import out_of_range, refuse_attack, refuse_labels
from coreselect.gradients.loss_value import checked_loss_value, naming
from coreselect.losses.targets import reads_classes
from coreselect.network.layout import Layout
from coreselect.objectives.following import following
from coreselect.objectives.objective import Objective
from coreselect.objectives.on_validation import ValidationObjective
from coreselect.protocols import Loss, Stream
from coreselect.support import seeding
from coreselect.support.one_logit import refuse_one_logit
from coreselect.task.open_model import OpenModel
from coreselect.task.targets import why_no_classes


def open_objective(opened: OpenModel, spec: Objective) -> ValidationObjective:
    """Open an objective on the validation inputs, attacked at θ; without an attack of its own it follows the task's.

    Raises:
        ShapeError: the objective compares softmaxes, and the network has one output.
        RequirementError: there is no validation, or the objective needs labels and validation has none.
        NonFiniteError: validation inputs or outputs are not finite.
    """
    spec = following(spec, opened.task.attack, inside=opened.task.attack_at is not None)
    if spec.softmax:
        refuse_one_logit(opened.net.outputs, f"the objective {spec.name!r}")
    opened.check_devices()
    context, validation = opened.context, opened.validation()
    x, labels = validation.inputs, validation.labels
    if opened.task.attack_at is None and not getattr(spec.attack, "changes_nothing", False):
        refuse_attack(x, "validation")
    own: Loss | None = getattr(spec, "loss", None)
    if own is not None:
        opened.check_loss()
        labels = labels if reads_classes(own) else validation.targets
    if spec.needs_labels:
        why = why_no_classes(opened.task.validation_targets)
        if why:
            raise RequirementError(f"the objective {spec.name!r} needs classes of validation, and {why}: use 'rd'.")
        if labels is not None:
            refuse_labels(np.arange(len(labels)), labels, opened.net.outputs, "validation")

    def seeds(crafting: int, part: Tensor) -> NDArray[np.uint64]:
        return seeding.seeds(context.seed, "validation attack", context.round, crafting, indices=part.cpu().numpy())

    layout = Layout.of(opened.net.captured)
    return ValidationObjective(
        spec, opened.net, layout, x, labels, seeds, opened.point, batch=opened.task.batch_size, clock=context.clock
    )


def loss_gradient(
    loss: Loss, opened: OpenModel, layout: Layout, theta: Tensor, held: ValidationObjective
) -> Tensor | None:
    """Return the gradient of a training loss on the held validation inputs, [P].

    Args:
        loss: one view, per example.
        opened: the model, with its validation inputs.
    Returns:
        None if the loss needs labels and validation has none, or labels outside 0…C−1.
    """
    validation = opened.validation()
    labels = validation.labels if reads_classes(loss) else validation.targets
    if loss.needs_labels and labels is None:
        return None
    if reads_classes(loss) and labels is not None and bool(out_of_range(labels, opened.net.outputs).any()):
        return None
    theta = theta.requires_grad_()
    with torch.enable_grad():
        everything = torch.arange(held.size, device=theta.device)
        adversarial, natural = held.outputs(layout.unflatten(theta), everything)
        streams: dict[Stream, Tensor] = {("adversarial", 0): adversarial, ("natural", 0): natural}
        with naming(np.arange(held.size), "validation"):
            value = checked_loss_value(loss, streams, labels).mean()
    return torch.autograd.grad(value, theta)[0]

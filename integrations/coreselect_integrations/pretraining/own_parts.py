"""Parts of a training that the user writes: a loss, the views of contrastive systems, and the loop of one epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from coreselect.errors import RequirementError
from coreselect.history import History
from coreselect.losses import SAT, CallableLoss
from coreselect.losses import loss as as_loss
from coreselect.protocols import Attack, Call, Loss, MakeViews, Views
from coreselect_integrations.own_code import admitted
from coreselect_integrations.pretraining.systems import SECOND_ENCODER, SYSTEMS
from coreselect_integrations.training.attacks import check_attack

if TYPE_CHECKING:
    from coreselect_integrations.pretraining.settings import Settings


class AttackedLoss(CallableLoss):
    """A function of the outputs of attacked inputs and the targets, [B, C] → [B]; the attack raises its sum."""

    streams = (("adversarial", 0),)
    default_attack = SAT.default_attack

    def ascend(self, adversarial: Views, natural: Views, labels: Any) -> Tensor:
        """Compute the sum over the examples."""
        return CallableLoss.__call__(self, (), adversarial, labels).sum()

    def __call__(self, adversarial: Views, natural: Views, labels: Any) -> Tensor:
        """Outputs [B, C] of attacked inputs and targets → losses [B]."""
        return CallableLoss.__call__(self, (), adversarial, labels)


@dataclass(frozen=True)
class EpochJob:
    """What the loop of one epoch gets.

    Attributes:
        network: in training mode; call it by `call(network, x, route)`, or as `network(x)` if it has one route.
        batches: yields (x, y, index) on the CPU, or (x, index) for data without labels; `index` are positions in the pool. They
            can be read once, and all must be.
        optimizer: of the network's parameters; the loop calls its `step()`.
        epoch: from 0.
        loss, attack, views: of the system, or yours; `attack` is None for systems without one, `views` for supervised ones.
        weights: indices [B] → factors [B] of the per-example loss; 1 on the whole pool and for methods without weights.
        step: to be called after each update: it moves the learning rate along its curve.
        generator: of the random draws of this epoch, which depend on (seed, epoch) only.
        history: record outputs there, for methods that read what training has seen.
        call, device: how the network is called, and where batches belong.
    """

    network: nn.Module
    batches: Iterable[Any]
    optimizer: torch.optim.Optimizer
    epoch: int
    loss: Loss
    attack: Attack | None
    views: MakeViews | None
    weights: Callable[[Tensor], Tensor]
    step: Callable[[], None]
    generator: torch.Generator
    history: History
    call: Call
    device: torch.device


class Trainer(Protocol):
    """The loop of one epoch: `--trainer file.py:train` of `coreselect compare`.

    It trains the network of the job on every batch once. Everything around it stays as in any other run: when is selected, the
    shared warm model, the learning rate, clocks, and going on after an interruption.
    """

    def __call__(self, job: EpochJob) -> float | tuple[float, float]:
        """Train, and return the mean loss, or (mean loss, accuracy in [0, 1]); a cell with anything else fails."""
        ...


def loss_of(name: str, *, attacked: bool) -> Loss:
    """Return the loss that the user wrote.

    Args:
        name: of an object with the members of `coreselect.protocols.Loss`, of a class of such objects, or of a function
            (outputs [B, C], targets) → [B].
        attacked: whether a function reads the outputs of attacked inputs.
    Raises:
        RequirementError: it was not given.
        ShapeError: it is no loss.
    """
    found = admitted(name, "loss", "--loss")
    loss = as_loss(found() if isinstance(found, type) else found)
    return AttackedLoss(loss.function) if attacked and type(loss) is CallableLoss else loss


def views_of(name: str, strength: float) -> MakeViews:
    """Return the views that the user wrote, (x [1, …], generator) → (view, view); called with `strength` if it takes that.

    Raises:
        RequirementError: they were not given.
    """
    found = admitted(name, "views", "--views")
    return partial(found, strength=strength) if "strength" in signature(found).parameters else found


def check_own_parts(settings: Settings) -> None:
    """Refuse parts of the user's that the system cannot use.

    Raises:
        RequirementError: views for a system without any, a loss for one whose loss reads a second encoder, a loss of another
            number of views or that does not fit the attack, or code that was not given or takes other arguments.
    """
    system = SYSTEMS[settings.system]
    if settings.own_epoch is not None:
        _refuse_arguments(admitted(settings.own_epoch, "trainer", "--trainer"), settings.own_epoch, "job")
    if settings.own_views is not None:
        if system.supervised:
            raise RequirementError(f"{settings.system} makes no views: leave --views out.")
        _refuse_arguments(views_of(settings.own_views, 1.0), settings.own_views, "x, generator")
    if settings.own_loss is None:
        return
    if settings.system in SECOND_ENCODER:
        raise RequirementError(
            f"{settings.system} has a loss of its own, which reads its second encoder: leave --loss out."
        )
    loss = settings.loss(0)
    needed = 1 if system.supervised else 3 if system.regularised else 2
    if loss.views != needed:
        why = f"the loss {settings.own_loss} reads {loss.views} views, and {settings.system} makes {needed}: take another system."
        raise RequirementError(why)
    check_attack(loss, settings.attack)


def _refuse_arguments(function: Callable[..., Any], name: str, given: str) -> None:
    """Refuse a function that cannot be called with these arguments, separated by commas.

    Raises:
        RequirementError: it cannot.
    """
    try:
        takes = signature(function)
    except (TypeError, ValueError):  # some functions of C do not say
        return
    try:
        takes.bind(*given.split(", "))
    except TypeError as why:
        raise RequirementError(f"{name} takes {takes}, and is called with ({given}): {why}.") from why

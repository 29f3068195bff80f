"""Contrastive training, adversarial or not: a plain loop over any loader that does not read labels.

The loss decides the method. CL() is NT-Xent of two natural views (Chen et al., "A Simple Framework for Contrastive
Learning of Visual Representations", ICML 2020). ACL() is ½·[NT-Xent(x̃ⁱ, x̃ʲ) + NT-Xent(xⁱ, xʲ)]: the attacked views
x̃ⁱ, x̃ʲ together maximise NT-Xent, each within its own ball, and natural and attacked views use separate routes (Jiang et
al., "Robust Pre-Training by Adversarial Contrastive Learning", NeurIPS 2020). ACL(omega=…) with views that get weaker over
time is DynACL (`dynacl.py`). IR() adds invariant regularisation, and reads the image itself as a third view (`air.py`).
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from coreselect import Task
from coreselect.attacks import PGD
from coreselect.errors import RequirementError
from coreselect.history import History
from coreselect.losses import ACL, Divided
from coreselect.protocols import Attack, Call, Loss, MakeViews, Route, Views
from coreselect.support.devices import device_for, moved
from coreselect_integrations.networks import route_call
from coreselect_integrations.systems.views import two_views
from coreselect_integrations.training.attacks import check_attack, random_start
from coreselect_integrations.training.contexts import evaluation_mode, mixed_precision
from coreselect_integrations.training.epoch_log import EpochLog
from coreselect_integrations.training.schedule import Scheduler
from coreselect_integrations.training.totals import Totals
from coreselect_integrations.training.warm_up import WarmUpOptions
from coreselect_integrations.training.warm_up import warm_up as warm_up_by
from coreselect_integrations.training.workers import ALONE, Worker

ATTACK = PGD(8 / 255, 2 / 255, 5)


def train_epoch(
    model: nn.Module,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    attack: Attack | None,
    *,
    generator: torch.Generator,
    loss: Loss = ACL(),
    views: MakeViews = two_views,
    call: Call = route_call,
    scheduler: Scheduler | None = None,
    weights: Callable[[Tensor], Tensor] | None = None,
    history: History | None = None,
    precision: torch.dtype | None = None,
    device: torch.device | str | None = None,
    worker: Worker = ALONE,
) -> EpochLog:
    """Train one epoch: attack both views together in evaluation mode, then update in training mode.

    The loss is computed in float32.

    Args:
        model: called through `call`; in training mode afterwards.
        loader: yields x [B, C, H, W], or tuples that begin with x. If `weights` or `history` is given, the tuples end with
            the index (`Indexed`). Labels are never read.
        optimizer: of the parameters to train (LARS in the published runs, SGD for small ones).
        attack: raises NT-Xent of both views together, through the adversarial route; None for a loss that reads natural
            views only.
        generator: gives the views and the random starts.
        loss: `CL()`, `ACL()`, `IR()`. Of the views that it names, the last two are the pair. A view before them goes through
            the network separately, so it does not change the batch statistics of the pair.
        views: (x, generator) → as many views of each image as the loss reads.
        call: (model, x, route) → representations [B, D].
        scheduler: moves on after each update.
        weights: indices [B] → weights [B] that multiply what each example adds to the loss (`CoresetSampler.weights`).
        history: records what each example added to the loss of its update, before weighting: the mean of NT-Xent over the
            example's two anchors, with natural and attacked views weighted as in the loss.
        precision: of mixed-precision forward passes; None means the precision of the model.
        device: where batches are moved; None means the device of the model.
        worker: this process, or one of the ranks that share every batch; then the loader yields its shares, and the negatives
            are those of the whole batch, in the attack too.
    Returns:
        the mean loss; there is no accuracy.
    Raises:
        RequirementError: loss and attack do not fit together; or weights or a history are given, and the loss does not say
            what each example adds (`each`) or the loader has no indices.
    """
    check_attack(loss, attack)
    device = device_for(model, device)
    per_example = None if weights is None and history is None else _check_per_example(loss)
    totals = Totals()
    attacked = [view for route, view in loss.streams if route == "adversarial"]

    def represent(route: Route, views: Views) -> Views:
        """Views [B, …] in one forward pass, so that they share batch statistics → as many float32 [B, D]."""
        x = torch.cat(views)  # [2B, …]
        with mixed_precision(x, precision):
            z: Tensor = call(model, x, route)  # [2B, D]
        return tuple(z.float().chunk(len(views)))

    def whole(own: Views) -> Views:
        return tuple(worker.whole(z) for z in own)

    def outputs(adversarial: Views, natural: Views) -> tuple[Views, Views]:
        z_adversarial = represent("adversarial", adversarial) if adversarial else ()
        z_natural = represent("natural", natural[-2:])
        if len(natural) > 2:
            z_natural = represent("natural", natural[:-2]) + z_natural
        return z_adversarial, z_natural

    model.train()
    for batch in loader:
        with totals.checks.collecting():
            x = batch[0] if isinstance(batch, tuple | list) else batch  # [B, C, H, W]
            natural = views(moved(x, device), generator)  # two or three of [B, C, H, W]
            adversarial: Views = ()
            if attack is not None:
                starts = tuple(random_start(natural[v], generator) for v in attacked)
                with evaluation_mode(model):
                    adversarial = attack(
                        lambda v: loss.ascend(whole(represent("adversarial", v)), (), None),
                        tuple(natural[v] for v in attacked),
                        starts,
                    )
            z_adversarial, z_natural = (whole(own) for own in worker.forward(outputs, adversarial, natural))
            if per_example is None:
                value = loss(z_adversarial, z_natural, None)
            else:
                losses, index = (
                    per_example.each(z_adversarial, z_natural, None),
                    worker.whole(_index(batch)),
                )  # [B] each
                value = (losses if weights is None else losses * weights(index).to(losses)).mean()
                if history is not None:
                    totals.record(losses, partial(history.record_losses, index))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
        totals.batch_done(value, worker.size(len(x)))
    return totals.log(answers=False)


def _check_per_example(loss: Loss) -> Divided:
    """Check that the loss is a sum of what each example adds."""
    if not isinstance(loss, Divided):
        why = (
            f"the loss {loss.name!r} does not say what each example adds to it: give it a method each(adversarial, natural, "
            "labels) → [B] whose mean is the loss, or leave out weights and history."
        )
        raise RequirementError(why)
    return loss


def _index(batch: Any) -> Tensor:
    """Return the pool positions [B]: the last entry of a batch. Without `Indexed(pool)` these would be the labels."""
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        why = "weights and a history need batches that end with the index, got only x: load from Indexed(pool)."
        raise RequirementError(why)
    return batch[-1]


def warm_up(
    model: nn.Module,
    dataset: Dataset[Any],
    *,
    epochs: int,
    attack: Attack = ATTACK,
    views: MakeViews = two_views,
    weight_decay: float = 1e-4,
    **options: Unpack[WarmUpOptions],
) -> list[EpochLog]:
    """Train adversarially on a whole dataset without labels; for the arguments see `train_epoch` and `training.warm_up`."""
    epoch = partial(train_epoch, attack=attack, views=views)
    return warm_up_by(model, dataset, epoch, epochs=epochs, weight_decay=weight_decay, **options)


def task(model: nn.Module, pool: Dataset[Any], validation: Dataset[Any], **settings: Any) -> Task:
    """Make the task of a selection for this loop: `Task.from_model` with the loss `acl`, two views and two routes."""
    return Task.from_model(
        model, pool, validation, **{"loss": "acl", "call": route_call, "views": two_views, **settings}
    )

"""Supervised adversarial training: min_θ E max_{‖δ‖ ≤ ε} ℓ(h_θ(x + δ), y), a plain loop over any loader.

    sampler = CoresetSampler(task(model, pool, validation), RCS(), budget=0.1, warmup=10, every=10)
    loader = DataLoader(pool, 128, sampler=sampler, generator=torch.Generator())
    for epoch in range(100):
        sampler.set_epoch(epoch)
        train_epoch(model, loader, optimizer, PGD(8 / 255, 2 / 255, 10), generator=generator)

The loss decides the method. SAT() is Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR
2018. TRADES() is Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019. SAT()
with the one-step attack FAST and a triangular learning rate is Fast-AT, Wong et al., "Fast is better than free: Revisiting
adversarial training", ICLR 2020. CE() without an attack is standard training.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from coreselect import Task
from coreselect.attacks import PGD
from coreselect.history import History
from coreselect.losses import SAT
from coreselect.protocols import Attack, Call, Loss, Route
from coreselect.support.devices import device_for, moved
from coreselect.support.structure import mapped
from coreselect_integrations.systems.augment import Augment
from coreselect_integrations.training.attacks import check_attack, random_start
from coreselect_integrations.training.contexts import evaluation_mode, mixed_precision
from coreselect_integrations.training.epoch_log import EpochLog
from coreselect_integrations.training.head_inputs import HeadInputs
from coreselect_integrations.training.schedule import Scheduler
from coreselect_integrations.training.totals import Totals
from coreselect_integrations.training.warm_up import WarmUpOptions
from coreselect_integrations.training.warm_up import warm_up as warm_up_by
from coreselect_integrations.training.workers import ALONE, Worker

ATTACK = PGD(8 / 255, 2 / 255, 10)
FAST = PGD(8 / 255, 10 / 255, 1)


def one_input(model: nn.Module, x: Tensor, route: Route) -> Tensor:
    """Call a network that has one route and takes no `route` argument."""
    del route
    return model(x)


def train_epoch(
    model: nn.Module,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    attack: Attack | None,
    *,
    generator: torch.Generator,
    loss: Loss = SAT(),
    call: Call = one_input,
    augment: Augment | None = None,
    scheduler: Scheduler | None = None,
    weights: Callable[[Tensor], Tensor] | None = None,
    history: History | None = None,
    trained: nn.Module | None = None,
    precision: torch.dtype | None = None,
    device: torch.device | str | None = None,
    worker: Worker = ALONE,
    head: str = "head",
) -> EpochLog:
    """Train one epoch: attack in evaluation mode, update in training mode, compute the loss in float32.

    Args:
        model: [B, C, H, W] → logits [B, classes]; in training mode afterwards.
        loader: yields (x, y), or (x, y, index) if `weights` or `history` is given; usually a `DataLoader` over a
            `CoresetSampler`. y are labels [B], or a tuple that begins with them, for a loss that reads more.
        optimizer: of the parameters to train.
        attack: raises the loss's own objective within a ball around x; None leaves x as it is.
        generator: gives the random starts and the draws of the augmentation.
        loss: per example, of one view: `SAT()`, `TRADES(beta)`, `CE()`.
        call: (model, x, route) → logits; in a network with two routes, natural and attacked inputs each use their own.
        augment: (x, generator) → x, on whole batches; None leaves x as it is.
        scheduler: moves on after each update.
        weights: indices [B] → weights [B] that multiply the per-example loss (`CoresetSampler.weights`).
        history: records the logits of each update: those of attacked inputs if there is an attack. One that keeps features gets
            the inputs of the module `head` too.
        trained: the part that is put in training mode; the rest stays in evaluation mode. None means the whole model.
        precision: of mixed-precision forward passes; None means the precision of the model.
        device: where batches are moved; None means the device of the model.
        worker: this process, or one of the ranks that share every batch; then the loader yields its shares.
        head: name of the module whose inputs a history with features keeps.
    Returns:
        the mean loss, and the accuracy on the inputs that the updates used.
    Raises:
        RequirementError: loss and attack do not fit together.
    """
    check_attack(loss, attack)
    device = device_for(model, device)
    totals = Totals()
    reads_natural = ("natural", 0) in loss.streams

    def logits(x: Tensor, route: Route) -> Tensor:
        with mixed_precision(x, precision):
            return call(model, x, route).float()  # [B, classes]

    def outputs(x: Tensor, attacked: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        natural = (logits(x, "natural"),) if reads_natural else ()
        adversarial = (logits(attacked, "adversarial"),) if attack is not None else ()
        return loss(adversarial, natural, y), (*adversarial, *natural)[0]  # [B], [B, classes]

    model.train(trained is None)
    if trained is not None:
        trained.train()
    inside = model.get_submodule(head) if history is not None and history.features is not None else None
    for x, y, *index in loader:
        with totals.checks.collecting(), HeadInputs(inside) as read:
            given, x, y = y, moved(x, device), mapped(partial(moved, device=device), y)  # [B], [B, C, H, W], [B]
            if augment is not None:
                x = augment(x, generator)
            attacked = x
            if attack is not None:
                with evaluation_mode(model):
                    with torch.no_grad():
                        fixed = (logits(x, "natural"),) if reads_natural else ()
                    objective = partial(_attack_objective, loss, logits, fixed, y)
                    (attacked,) = attack(objective, (x,), (random_start(x, generator),))
            losses, used = worker.forward(outputs, x, attacked, y)
            mean = worker.whole(losses if weights is None else losses * weights(index[0]).to(losses)).mean()
            optimizer.zero_grad()
            mean.backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            if history is not None:
                positions, labels = worker.whole(index[0]), worker.whole(_labels(given))
                totals.record(worker.whole(used), partial(_record, history, positions, labels, attack is not None))
                if read.last is not None:
                    totals.record(worker.whole(read.last), partial(history.record_features, positions))
            correct = worker.whole(used.argmax(1) == _labels(y)).sum()
        totals.batch_done(mean, worker.size(len(x)), correct)
    return totals.log(answers=True)


def _labels(y: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Return the labels [B] of a batch, which may carry more for its loss."""
    return y if isinstance(y, Tensor) else y[0]


def _record(history: History, index: Tensor, labels: Tensor, attacked: bool, logits: Tensor) -> None:
    history.record(index, logits, labels, attacked=attacked)


def _attack_objective(
    loss: Loss, logits: Callable[..., Tensor], natural: tuple[Tensor, ...], y: Tensor, views: Any
) -> Tensor:
    """What the attack raises, given the logits of the natural inputs."""
    return loss.ascend((logits(views[0], "adversarial"),), natural, y)


def warm_up(
    model: nn.Module,
    dataset: Dataset[Any],
    *,
    epochs: int,
    attack: Attack = ATTACK,
    augment: Augment | None = None,
    weight_decay: float = 5e-4,
    **options: Unpack[WarmUpOptions],
) -> list[EpochLog]:
    """Train adversarially on a whole labelled dataset; for the arguments see `train_epoch` and `training.warm_up`."""
    epoch = partial(train_epoch, attack=attack, augment=augment)
    return warm_up_by(model, dataset, epoch, epochs=epochs, weight_decay=weight_decay, **options)


def task(model: nn.Module, pool: Dataset[Any], validation: Dataset[Any], **settings: Any) -> Task:
    """Make the task of a selection for this loop: `Task.from_model` with `loss="sat"` and the given settings."""
    return Task.from_model(model, pool, validation, **{"loss": "sat", **settings})

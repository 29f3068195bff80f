"""Supervised adversarial training: min_θ E max_{‖δ‖ ≤ ε} ℓ(h_θ(x + δ), y), one plain epoch over any loader.

    sampler = CoresetSampler(task(model, pool, validation), RCS(), budget=0.1, warmup=10, every=10)
    loader = DataLoader(pool, 128, sampler=sampler, generator=torch.Generator())
    for epoch in range(100):
        sampler.set_epoch(epoch)
        train_epoch(model, loader, optimizer, PGD(8 / 255, 2 / 255, 10), generator=generator)

The loss makes the method: SAT() is Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR
2018; TRADES() is Zhang et al., "Theoretically Principled Trade-off between Robustness and Accuracy", ICML 2019; SAT()
with the one-step attack FAST and a triangular rate is Fast-AT, Wong et al., "Fast is better than free: Revisiting
adversarial training", ICLR 2020; CE() without attack is standard training.
"""

from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from coreselect import Task
from coreselect.attacks import PGD
from coreselect.history import History
from coreselect.losses import SAT
from coreselect.protocols import Attack, Call, Loss, Progress, Route
from coreselect_integrations.training.epochs import fit
from coreselect_integrations.training.loops import Augment, EpochLog, check_attack, random_start
from coreselect_integrations.training.modes import evaluating, precise
from coreselect_integrations.training.schedule import Steps

ATTACK = PGD(8 / 255, 2 / 255, 10)
FAST = PGD(8 / 255, 10 / 255, 1)


def one_input(model: nn.Module, x: Tensor, route: Route) -> Tensor:
    """Call a network that has one route."""
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
    scheduler: Steps | None = None,
    weights: Callable[[Tensor], Tensor] | None = None,
    history: History | None = None,
    trained: nn.Module | None = None,
    precision: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> EpochLog:
    """Train one epoch: attack in evaluation mode, update in training mode; the loss is in float32.

    Args:
        model: [B, C, H, W] → logits [B, classes]; left in training mode.
        loader: yields (x, y), or (x, y, index) when `weights` or `history` is given; a `DataLoader` over a `CoresetSampler`,
            usually.
        optimizer: of the parameters to train.
        attack: raises the loss's own goal within its ball around x; None leaves x as it is.
        generator: gives the random starts, and the augmentation its draws.
        loss: per example, of one view: `SAT()`, `TRADES(beta)`, `CE()`.
        call: (model, x, route) → logits; networks with two routes see natural and attacked inputs through their own.
        augment: (x, generator) → x, on whole batches; None leaves x as it comes.
        scheduler: stepped after each update.
        weights: indices [B] → weights [B] that multiply the per-example loss (`CoresetSampler.weights`).
        history: records the logits that each update was made on, attacked ones where there is an attack.
        trained: the part that is put in training mode, the rest in evaluation mode; None means all of the model.
        precision: of mixed-precision forward passes; None for that of the model.
        device: where batches are moved; None leaves them.
    Returns:
        mean loss, and the share classified rightly of the inputs that the updates were made on.
    Raises:
        RequirementError: loss and attack do not belong together.
    """
    check_attack(loss, attack)
    start, loss_sum, right, examples = perf_counter(), 0.0, 0, 0
    reads_natural = ("natural", 0) in loss.streams

    def logits(x: Tensor, route: Route) -> Tensor:
        with precise(x, precision):
            return call(model, x, route).float()  # [B, classes]

    model.train(trained is None)
    if trained is not None:
        trained.train()
    for x, y, *index in loader:
        x, y = x.to(device), y.to(device)  # [B, C, H, W], [B]
        if augment is not None:
            x = augment(x, generator)
        attacked = x
        if attack is not None:
            with evaluating(model):
                with torch.no_grad():
                    still = (logits(x, "natural"),) if reads_natural else ()
                goal = partial(_goal, loss, logits, still, y)
                (attacked,) = attack(goal, (x,), (random_start(x, generator),))
        natural = (logits(x, "natural"),) if reads_natural else ()
        adversarial = (logits(attacked, "adversarial"),) if attack is not None else ()
        losses = loss(adversarial, natural, y)  # [B]
        mean = (losses if weights is None else losses * weights(index[0]).to(losses)).mean()
        optimizer.zero_grad()
        mean.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        loss_sum += mean.item() * len(x)
        trained_on = (*adversarial, *natural)[0]  # logits [B, classes]
        if history is not None:
            history.record(index[0], trained_on, y, attacked=attack is not None)
        right += int((trained_on.argmax(1) == y).sum())
        examples += len(x)
    n = max(1, examples)
    return EpochLog(loss_sum / n, right / n, examples, perf_counter() - start)


def _goal(loss: Loss, logits: Callable[..., Tensor], still: tuple[Tensor, ...], y: Tensor, views: Any) -> Tensor:
    return loss.ascend((logits(views[0], "adversarial"),), still, y)


def warm_up(
    model: nn.Module,
    dataset: Dataset[Any],
    *,
    epochs: int,
    attack: Attack = ATTACK,
    augment: Augment | None = None,
    batch_size: int = 128,
    lr: float = 0.1,
    weight_decay: float = 5e-4,
    seed: int = 0,
    num_workers: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> list[EpochLog]:
    """Train adversarially on a whole labelled dataset; arguments as `train_epoch` and `epochs.fit` say."""
    epoch = partial(train_epoch, attack=attack, augment=augment)
    return fit(
        model, dataset, epoch, epochs=epochs, batch_size=batch_size, lr=lr, weight_decay=weight_decay, seed=seed,
        num_workers=num_workers, device=device, progress=progress,
    )  # fmt: skip


def task(model: nn.Module, pool: Dataset[Any], validation: Dataset[Any], **settings: Any) -> Task:
    """Say what to select from for this loop: `Task.from_model` with `loss="sat"`, any other setting as given."""
    return Task.from_model(model, pool, validation, **{"loss": "sat", **settings})

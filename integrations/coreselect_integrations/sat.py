"""Supervised adversarial training: min_θ E max_{‖δ‖ ≤ ε} CE(h_θ(x + δ), y), one plain epoch over any loader.

    sampler = CoresetSampler(task(model, pool, validation), RCS(), budget=0.1, warmup=10, every=10)
    loader = DataLoader(pool, 128, sampler=sampler, generator=torch.Generator())
    for epoch in range(100):
        sampler.set_epoch(epoch)
        train_epoch(model, loader, optimizer, PGD(8 / 255, 2 / 255, 10), generator=generator)

Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018.
"""

from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Dataset

from coreselect import Task
from coreselect.attacks import PGD
from coreselect.protocols import Attack, Progress
from coreselect_integrations.modes import evaluating
from coreselect_integrations.training import Augment, EpochLog, fit, random_start

ATTACK = PGD(8 / 255, 2 / 255, 10)


def train_epoch(
    model: nn.Module,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    attack: Attack,
    *,
    generator: torch.Generator,
    augment: Augment | None = None,
    scheduler: LRScheduler | None = None,
    device: torch.device | str | None = None,
    weights: Callable[[Tensor], Tensor] | None = None,
) -> EpochLog:
    """Train one epoch on attacked inputs: attack in evaluation mode, update in training mode.

    Args:
        model: [B, C, H, W] → logits [B, classes]; left in training mode.
        loader: yields (x, y), or (x, y, index) when `weights` is given; a `DataLoader` over a `CoresetSampler`,
            usually.
        optimizer: of the parameters to train.
        attack: raises the cross-entropy of x within its ball.
        generator: gives the random starts, and the augmentation its draws.
        augment: (x, generator) → x, on whole batches; None leaves x as it comes.
        scheduler: stepped after each update.
        device: where batches are moved; None leaves them.
        weights: indices [B] → weights [B] that multiply the per-example loss (`CoresetSampler.weights`).
    Returns:
        mean loss and share classified rightly of the attacked inputs.
    """
    start, loss_sum, right, examples = perf_counter(), 0.0, 0, 0
    for x, y, *index in loader:
        x, y = x.to(device), y.to(device)  # [B, C, H, W], [B]
        if augment is not None:
            x = augment(x, generator)
        with evaluating(model):
            (x,) = attack(partial(_raise_loss, model, y), (x,), (random_start(x, generator),))
        model.train()
        logits = model(x)  # [B, classes]
        losses = F.cross_entropy(logits, y, reduction="none")  # [B]
        loss = (losses if weights is None else losses * weights(index[0]).to(losses)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        loss_sum += loss.item() * len(x)
        right += int((logits.argmax(1) == y).sum())
        examples += len(x)
    n = max(1, examples)
    return EpochLog(loss_sum / n, right / n, examples, perf_counter() - start)


def _raise_loss(model: nn.Module, y: Tensor, views: tuple[Tensor, ...]) -> Tensor:
    return F.cross_entropy(model(views[0]), y, reduction="sum")


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
    """Train adversarially on a whole labelled dataset; arguments as `train_epoch` and `training.fit` say."""
    epoch = partial(train_epoch, attack=attack, augment=augment)
    return fit(
        model, dataset, epoch, epochs=epochs, batch_size=batch_size, lr=lr, weight_decay=weight_decay, seed=seed,
        num_workers=num_workers, device=device, progress=progress,
    )  # fmt: skip


def task(model: nn.Module, pool: Dataset[Any], validation: Dataset[Any], **settings: Any) -> Task:
    """Say what to select from for this loop: `Task.from_model` with `loss="sat"`, any other setting as given."""
    return Task.from_model(model, pool, validation, **{"loss": "sat", **settings})

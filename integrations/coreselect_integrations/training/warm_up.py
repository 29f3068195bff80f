"""A short training of a model on a whole dataset, before selections begin."""

from __future__ import annotations

from typing import Any, Protocol, TypedDict

import torch
from torch import nn
from torch.utils.data import Dataset

from coreselect.protocols import Progress
from coreselect_integrations.training.batches import Batches
from coreselect_integrations.training.epoch_log import EpochLog
from coreselect_integrations.training.epochs import epoch_generator, run_epochs
from coreselect_integrations.training.optimisers import optimiser
from coreselect_integrations.training.schedule import Schedule, Scheduler, triangle


class TrainEpoch(Protocol):
    """One pass over a loader: `sat.train_epoch` or `acl.train_epoch` with their other arguments bound."""

    def __call__(
        self,
        model: nn.Module,
        loader: Any,
        optimizer: torch.optim.Optimizer,
        *,
        generator: torch.Generator,
        scheduler: Scheduler | None = None,
        device: torch.device | str | None = None,
    ) -> EpochLog: ...


class WarmUpOptions(TypedDict, total=False):
    """The options of `warm_up` that `sat.warm_up` and `acl.warm_up` pass on."""

    batch_size: int
    lr: float
    seed: int
    num_workers: int
    device: torch.device | str | None
    progress: Progress | None


def warm_up(
    model: nn.Module,
    dataset: Dataset[Any],
    train_epoch: TrainEpoch,
    *,
    epochs: int,
    weight_decay: float,
    batch_size: int = 128,
    lr: float = 0.1,
    seed: int = 0,
    num_workers: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> list[EpochLog]:
    """Train a model on a whole dataset by SGD (Nesterov, momentum 0.9) with a triangular learning rate.

    Args:
        model: changed in place.
        dataset: map-style; `train_epoch` reads its items.
        train_epoch: one pass.
        epochs: at least 0; 0 leaves the model as it is.
        weight_decay, batch_size: of the optimiser and the loader.
        lr: the largest learning rate.
        seed: decides order, augmentation and random starts; global random states do not change.
        num_workers, device: of the loader and the batches.
        progress: called with ("warm-up", examples done, examples in all) after each batch.
    Returns:
        one log for each epoch.
    """
    optimizer = optimiser("sgd", model.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = Schedule(optimizer, triangle(epochs, rise=0.2))

    def epoch(e: int, batches: Batches) -> EpochLog:
        schedule.set_epoch(e, len(batches))
        draws = epoch_generator(seed, "warm-up", e)
        return train_epoch(model, batches, optimizer, generator=draws, scheduler=schedule, device=device)

    return list(
        run_epochs(
            epoch, dataset, "warm-up", seed=seed, epochs=epochs, batch_size=batch_size, num_workers=num_workers,
            progress=progress, device=device,
        )
    )  # fmt: skip

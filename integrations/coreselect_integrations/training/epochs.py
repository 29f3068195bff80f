"""Epochs on a whole dataset: each in an order, and with draws, that are functions of (seed, name, epoch).

A run that is killed and taken up again therefore trains on what an uninterrupted one does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, RandomSampler

from coreselect.errors import RequirementError
from coreselect.protocols import Progress
from coreselect.support.seeding import derive, rng_kept, seed_everything
from coreselect_integrations.training.loops import Batches, EpochLog, NonSingletonBatches, ProgressLoader, draws
from coreselect_integrations.training.optimisers import optimiser
from coreselect_integrations.training.runs import Run
from coreselect_integrations.training.schedule import Schedule, Steps, triangle

Ended = Callable[[Mapping[str, Any]], None]  # called with the record of an epoch that ended


def each_epoch(
    epoch: Callable[[int, Batches], EpochLog],
    dataset: Dataset[Any],
    name: str,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    drop_last: bool = False,
    num_workers: int = 0,
    progress: Progress | None = None,
    run: Run | None = None,
    also: Callable[[], Mapping[str, Any]] = dict,
    ended: Ended | None = None,
) -> tuple[EpochLog, ...]:
    """Call `epoch(e, batches)` for every e from 0, or from where a run stands, to epochs − 1; return all logs.

    Args:
        epoch: one pass over the batches.
        dataset: map-style; its items are what `epoch` reads.
        name: of the training; what `progress` calls it.
        seed: decides the order; no global random state moves.
        epochs: at least 0.
        batch_size: at least 1.
        drop_last: leave out an epoch's last batch where it is not full and not the only one.
        num_workers: of the loader.
        progress: called with (name, examples done, examples in all) after each batch.
        run: keeps every epoch's log, and says how many are done already; None keeps nothing.
        also: what to keep beside the log, asked after each epoch, JSON-able.
        ended: called with the record of each epoch that ends.
    Raises:
        RequirementError: the dataset is empty, or a count is out of range.
    """
    n = len(dataset)  # type: ignore[arg-type]  # map-style datasets have a length
    if n < 1 or epochs < 0 or batch_size < 1:
        why = (
            f"training needs examples, epochs of at least 0 and batches of at least 1, got {n} examples, {epochs} epochs "
            f"and batches of {batch_size}."
        )
        raise RequirementError(why)
    order = torch.Generator()
    batches = NonSingletonBatches(RandomSampler(dataset, generator=order), batch_size, drop_last=drop_last)  # type: ignore[arg-type]
    loader: DataLoader[Any] = DataLoader(dataset, batch_sampler=batches, num_workers=num_workers, generator=order)
    each = sum(batches.sizes())
    logs = [log_of(record) for record in run.records] if run is not None else []
    for e in range(len(logs), epochs):
        order.manual_seed(derive(seed, "order", name, e))
        with rng_kept():
            seed_everything(derive(seed, "items", name, e))  # for datasets that draw from global states
            logs.append(epoch(e, ProgressLoader(loader, name, epochs * each, progress, e * each)))
        record = {**asdict(logs[-1]), **also()}
        if run is not None:
            run.keep(record)
        if ended is not None:
            ended({"epoch": e, **record})
    return tuple(logs)


def log_of(record: Mapping[str, Any]) -> EpochLog:
    """Read an epoch's log out of the record that was kept of it."""
    return EpochLog(**{f.name: record[f.name] for f in fields(EpochLog)})


class Epoch(Protocol):
    """One pass over a loader: `sat.train_epoch` or `acl.train_epoch` with its own settings bound."""

    def __call__(
        self,
        model: nn.Module,
        loader: Any,
        optimizer: torch.optim.Optimizer,
        *,
        generator: torch.Generator,
        scheduler: Steps | None = None,
        device: torch.device | str | None = None,
    ) -> EpochLog: ...


def fit(
    model: nn.Module,
    dataset: Dataset[Any],
    epoch: Epoch,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
    seed: int,
    num_workers: int = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> list[EpochLog]:
    """Warm a model up on a whole dataset: SGD (Nesterov, momentum 0.9), a triangular learning rate.

    Args:
        model: changed in place.
        dataset: map-style; its items are what `epoch` reads.
        epoch: one pass.
        epochs: at least 0; 0 leaves the model as it is.
        batch_size, lr, weight_decay: of the optimiser; lr at its peak.
        seed: decides order, augmentation and random starts; no global random state moves.
        num_workers, device: of the loader and the batches.
        progress: called with ("warm-up", examples done, examples in all) after each batch.
    Returns:
        one log an epoch.
    """
    optimizer = optimiser("sgd", model.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = Schedule(optimizer, triangle(epochs, rise=0.2))

    def one(e: int, batches: Batches) -> EpochLog:
        schedule.set_epoch(e, len(batches))
        own = draws(seed, "warm-up", e)
        return epoch(model, batches, optimizer, generator=own, scheduler=schedule, device=device)

    return list(
        each_epoch(
            one, dataset, "warm-up", seed=seed, epochs=epochs, batch_size=batch_size, num_workers=num_workers,
            progress=progress,
        )
    )  # fmt: skip

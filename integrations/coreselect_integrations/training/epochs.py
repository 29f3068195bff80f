"""A loop over epochs of a whole dataset, in which order and random draws depend only on (seed, name, epoch).

So a run that is killed and continued trains on the same batches as a run without interruption.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch.utils.data import Dataset, RandomSampler

from coreselect.errors import RequirementError
from coreselect.protocols import Progress
from coreselect.support.seeding import derive, generator, rng_kept, seed_everything
from coreselect_integrations.training.batches import Batches, NonSingletonBatches, ProgressLoader
from coreselect_integrations.training.epoch_log import EpochLog
from coreselect_integrations.training.resident import loader_for
from coreselect_integrations.training.runs import Run

EpochEnded = Callable[[Mapping[str, Any]], None]  # called with the record of an epoch that has ended


def run_epochs(
    epoch: Callable[[int, Batches], EpochLog],
    dataset: Dataset[Any],
    name: str,
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    drop_last: bool = False,
    num_workers: int = 0,
    timeout: float = 0,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    run: Run | None = None,
    extra_record: Callable[[], Mapping[str, Any]] = dict,
    ended: EpochEnded | None = None,
) -> tuple[EpochLog, ...]:
    """Call `epoch(e, batches)` for each e up to epochs − 1, and return the logs of all epochs.

    The first e is 0, or the number of epochs that `run` has done.

    Args:
        epoch: one pass over the batches.
        dataset: map-style; `epoch` reads its items.
        name: of the training; `progress` gets it, and random draws depend on it.
        seed: decides the order; global random states do not change.
        epochs: at least 0.
        batch_size: at least 1.
        drop_last: leave out the last batch of an epoch if it is not full, unless it is the only batch.
        num_workers, timeout: of the loader.
        device: where `epoch` trains; None is the CPU. Images that fit lie there (`resident`).
        progress: called with (name, examples done, examples in all) after each batch.
        run: keeps the log of each epoch, and knows how many are done; None keeps nothing.
        extra_record: called after each epoch; returns JSON values that are recorded with the log.
        ended: called with the record of each epoch that has ended.
    Raises:
        RequirementError: the dataset is empty, or a count is out of range.
        DataError: an item cannot be read, or a worker dies or does not answer.
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
    loader = loader_for(
        dataset, batches, what="training", generator=order, num_workers=num_workers, timeout=timeout,
        device=torch.device(device or "cpu"),
    )  # fmt: skip
    examples = sum(batches.sizes())  # in one epoch
    logs = [EpochLog.from_record(record) for record in run.records] if run is not None else []
    for e in range(len(logs), epochs):
        order.manual_seed(derive(seed, "order", name, e))
        with rng_kept():
            seed_everything(derive(seed, "items", name, e))  # for datasets that draw from global states
            logs.append(epoch(e, ProgressLoader(loader, name, epochs * examples, progress, e * examples)))
        record = {**asdict(logs[-1]), **extra_record()}
        if run is not None:
            run.keep(record)
        if ended is not None:
            ended({"epoch": e, **record})
    if run is not None:
        run.finish()
    return tuple(logs)


def epoch_generator(seed: int, name: str, epoch: int) -> torch.Generator:
    """Return the generator for one epoch's augmentation and random starts; it depends on (seed, name, epoch) only."""
    return generator(seed, "draws", name, epoch)

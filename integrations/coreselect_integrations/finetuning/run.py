"""Fine-tune a pre-trained extractor on a whole dataset, by one of the modes."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Unpack

from torch import Tensor
from torch.utils.data import Dataset

from coreselect import Task
from coreselect.network.placing import placed
from coreselect.support.devices import usable_device
from coreselect.support.records import settings_of
from coreselect.task.dry_probe import probe_loss
from coreselect_integrations.finetuning.modes import Mode
from coreselect_integrations.finetuning.runtime import RuntimeOptions, loop_options, open_run
from coreselect_integrations.finetuning.tuning import Tuning, begin, finish, train_epoch
from coreselect_integrations.networks import NetworkSpec, RoutedNetwork, Transfer, route_call
from coreselect_integrations.systems.augment import Augment, crop_flip
from coreselect_integrations.training.batches import Batches
from coreselect_integrations.training.epoch_log import EpochLog
from coreselect_integrations.training.epochs import epoch_generator, run_epochs
from coreselect_integrations.training.schedule import Schedule


@dataclass(frozen=True, slots=True, eq=False)
class Finetuned:
    """The result: a classifier with one route in evaluation mode, its spec, what was loaded, logs and seconds."""

    network: RoutedNetwork
    spec: NetworkSpec
    transfer: Transfer
    log: tuple[EpochLog, ...]
    seconds: float


def finetune(
    mode: Mode,
    weights: Mapping[str, Tensor],
    spec: NetworkSpec,
    dataset: Dataset[Any],
    *,
    classes: int,
    seed: int = 0,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    augment: Augment | None = crop_flip,
    **runtime: Unpack[RuntimeOptions],
) -> Finetuned:
    """Fine-tune on a whole labelled dataset and keep the last epoch.

    Args:
        mode, weights, spec, classes: see `begin`.
        dataset: map-style, items (x, y, …), x in [0, 1] with the shape of the spec.
        seed: decides order, augmentation and random starts; global random states do not change.
        epochs, batch_size, lr: None means those of the mode; milestones are scaled to the number of epochs.
        augment: (x, generator) → x, on whole batches; None leaves images as they are.
        runtime: see `RuntimeOptions`.
    Raises:
        DataError, RequirementError, UnknownNameError: see `begin` and `train_all_epochs`.
    """
    start = perf_counter()
    tuning = begin(mode, weights, spec, classes=classes)
    log = train_all_epochs(
        tuning, dataset, seed=seed, epochs=epochs, batch_size=batch_size, lr=lr, augment=augment, **runtime
    )
    network, new = finish(tuning)
    return Finetuned(network, new, tuning.transfer, log, perf_counter() - start)


def train_all_epochs(
    tuning: Tuning,
    dataset: Dataset[Any],
    *,
    seed: int,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    augment: Augment | None = crop_flip,
    drop_last: bool = False,
    **runtime: Unpack[RuntimeOptions],
) -> tuple[EpochLog, ...]:
    """Train all epochs of a mode on a whole dataset, in a new order each epoch; for the arguments see `finetune`.

    Args:
        drop_last: leave out the last batch of an epoch if it is not full, unless it is the only batch.
    Raises:
        RequirementError: the dataset is empty, or epochs is below 0 or the batch size below 1.
        ShapeError: a loss of the user's does not give one value for each example.
    """
    mode, device, precision = tuning.mode, runtime.get("device"), runtime.get("precision")
    epochs = mode.epochs if epochs is None else epochs
    batch_size = mode.batch_size if batch_size is None else batch_size
    placed(tuning.network, None if device is None else usable_device(device))
    if mode.own_loss is not None:
        probe_loss(
            Task.from_model(tuning.network, dataset, loss=mode.loss, attack=mode.attack, call=route_call, device=device)
        )
    optimizer = tuning.optimizer(lr)
    schedule = Schedule(optimizer, mode.curve(epochs))
    settings = {
        "mode": mode.name, "epochs": epochs, "batch_size": batch_size, "lr": optimizer.param_groups[0]["lr"], "seed": seed,
        "weight_decay": mode.weight_decay, "milestones": mode.milestones, "attack": settings_of(mode.attack),
        "curve": mode.shape, "nesterov": mode.nesterov, "loss": mode.own_loss or mode.loss.name,
    }  # fmt: skip
    parts = {"network": tuning.network, "optimizer": optimizer, "schedule": schedule}
    # of runs that did not write them down
    old = {"curve": "stairs", "nesterov": True, "loss": None if mode.own_loss else mode.loss.name}
    run = open_run(runtime, parts, settings, dataset, tuning.network, old)

    def epoch(e: int, batches: Batches) -> EpochLog:
        schedule.set_epoch(e, len(batches))
        return train_epoch(
            tuning, batches, optimizer, generator=epoch_generator(seed, mode.name, e), scheduler=schedule, augment=augment,
            precision=precision, device=device,
        )  # fmt: skip

    return run_epochs(
        epoch, dataset, mode.name, seed=seed, epochs=epochs, batch_size=batch_size, drop_last=drop_last, run=run,
        extra_record=lambda: {"lr": schedule.rate}, **loop_options(runtime),
    )  # fmt: skip

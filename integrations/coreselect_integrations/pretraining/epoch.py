"""One epoch of a pre-training run: the network that the settings ask for, and the plain loop of their system."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from coreselect.errors import RequirementError
from coreselect.history import History
from coreselect.protocols import Loss
from coreselect_integrations.networks import NetworkSpec, route_call, spec_for
from coreselect_integrations.own_code import admitted, is_own
from coreselect_integrations.pretraining.dataset_shape import count_classes, image_shape, square_shape
from coreselect_integrations.pretraining.own_epoch import OnePass, changing, loss_and_accuracy
from coreselect_integrations.pretraining.own_parts import EpochJob
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.systems import SYSTEMS
from coreselect_integrations.systems import acl, sat
from coreselect_integrations.systems.augment import cropped_by
from coreselect_integrations.training.epoch_log import EpochLog
from coreselect_integrations.training.schedule import Schedule
from coreselect_integrations.training.workers import Worker


def network_for(settings: Settings, pool: Any, num_workers: int = 0) -> NetworkSpec:
    """Describe the network that the settings ask for on this data.

    Raises:
        DataError: the images are not square, and the network is one of ours.
    """
    channels, size = image_shape(pool) if is_own(settings.arch) else square_shape(pool, "the pool")
    system = SYSTEMS[settings.system]
    supervised = system.supervised
    classes = max(count_classes(pool, num_workers), settings.classes or 0) if supervised else None
    family = "sat" if supervised else "acl" if system.attacked else "cl"
    return spec_for(
        settings.arch, family, channels=channels, size=size, stem=settings.stem, projection=settings.projection,
        classes=classes, routes=settings.routes,
    )  # fmt: skip


def train_epoch(
    settings: Settings,
    spec: NetworkSpec,
    epoch: int,
    model: nn.Module,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    weights: Callable[[Tensor], Tensor],
    history: History,
    device: torch.device,
    draws: torch.Generator,
    worker: Worker,
    loss: Loss,
) -> EpochLog:
    """Run the plain loop of the settings' system, or the user's, for one epoch, with the draws of its generator.

    Raises:
        RequirementError: the loop is the user's, and several ranks train.
    """
    if settings.own_epoch is not None:
        if worker.world > 1:
            raise RequirementError(
                f"{settings.own_epoch} is a loop for one process, and {worker.world} train: start one."
            )
        return _own_epoch(settings, epoch, model, loader, optimizer, schedule, weights, history, device, draws, loss)
    common: dict[str, Any] = {
        "generator": draws, "worker": worker, "loss": loss, "scheduler": schedule,
        "weights": weights, "history": history, "precision": settings.autocast_dtype, "device": device,
    }  # fmt: skip
    views = settings.views(epoch)
    if views is None:
        augment = cropped_by(settings.crop, spec.size, flip=bool(settings.flip))
        return sat.train_epoch(model, loader, optimizer, settings.attack, call=route_call, augment=augment, **common)
    return acl.train_epoch(model, loader, optimizer, settings.attack, views=views, **common)


def _own_epoch(
    settings: Settings,
    epoch: int,
    model: nn.Module,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    weights: Callable[[Tensor], Tensor],
    history: History,
    device: torch.device,
    draws: torch.Generator,
    loss: Loss,
) -> EpochLog:
    """Let the user's loop train for one epoch.

    Raises:
        RequirementError: it does not read every batch once, changes no parameter, or returns no loss.
    """
    assert settings.own_epoch is not None  # the caller has looked
    start, trainer = perf_counter(), admitted(settings.own_epoch, "trainer", "--trainer")
    batches = OnePass(loader, settings.own_epoch)
    job = EpochJob(
        network=model.train(), batches=batches, optimizer=optimizer, epoch=epoch, loss=loss,
        attack=settings.attack, views=settings.views(epoch), weights=weights, step=schedule.step,
        generator=draws, history=history, call=route_call, device=device,
    )  # fmt: skip
    with changing(model, settings.own_epoch):
        mean, accuracy = loss_and_accuracy(trainer(job), settings.own_epoch)
        batches.refuse_unread(schedule.updates)
    return EpochLog(mean, accuracy, batches.examples, perf_counter() - start)

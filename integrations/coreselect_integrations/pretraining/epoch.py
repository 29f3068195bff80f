"""One epoch of a pre-training run: the network that the settings ask for, and the plain loop of their system."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from coreselect.errors import RequirementError
from coreselect.history import History
from coreselect.support.seeding import generator
from coreselect_integrations.networks import NetworkSpec, route_call, spec_for
from coreselect_integrations.own_code import admitted
from coreselect_integrations.pretraining.dataset_shape import count_classes, image_shape
from coreselect_integrations.pretraining.own_parts import EpochJob
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.systems import SYSTEMS
from coreselect_integrations.systems import acl, sat
from coreselect_integrations.systems.augment import crop_flip, resized_crop_flip
from coreselect_integrations.training.epoch_log import EpochLog
from coreselect_integrations.training.schedule import Schedule


def network_for(settings: Settings, pool: Any, num_workers: int = 0) -> NetworkSpec:
    """Describe the network that the settings ask for on this data."""
    channels, size = image_shape(pool)
    supervised = SYSTEMS[settings.system].supervised
    family = "sat" if supervised else "cl" if settings.system == "cl" else "acl"
    return spec_for(
        settings.arch, family, channels=channels, size=size, stem=settings.stem, projection=settings.projection,
        classes=count_classes(pool, num_workers) if supervised else None, routes=settings.routes,
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
) -> EpochLog:
    """Run the plain loop of the settings' system, or the user's, for one epoch; draws depend on (seed, epoch) only."""
    if settings.own_epoch is not None:
        return _own_epoch(settings, epoch, model, loader, optimizer, schedule, weights, history, device)
    common: dict[str, Any] = {
        "generator": generator(settings.seed, "training", epoch), "loss": settings.loss(epoch), "scheduler": schedule,
        "weights": weights, "history": history, "precision": settings.autocast_dtype, "device": device,
    }  # fmt: skip
    views = settings.views(epoch)
    if views is None:
        flip = bool(settings.flip)
        padded, resized = partial(crop_flip, pad=spec.size // 8, flip=flip), partial(resized_crop_flip, flip=flip)
        augment = resized if settings.crop == "resized" else padded
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
) -> EpochLog:
    """Let the user's loop train for one epoch.

    Raises:
        RequirementError: it returns no loss.
    """
    assert settings.own_epoch is not None  # the caller has looked
    start, examples = perf_counter(), 0

    def counted() -> Iterator[Any]:
        nonlocal examples
        for batch in loader:
            examples += len(batch[-1])
            yield batch

    trainer = admitted(settings.own_epoch, "trainer", "--trainer")
    job = EpochJob(
        network=model.train(), batches=counted(), optimizer=optimizer, epoch=epoch, loss=settings.loss(epoch),
        attack=settings.attack, views=settings.views(epoch), weights=weights, step=schedule.step,
        generator=generator(settings.seed, "training", epoch), history=history, call=route_call, device=device,
    )  # fmt: skip
    said: Any = trainer(job)
    loss: Any
    accuracy: Any
    loss, accuracy = said if isinstance(said, tuple) and len(said) == 2 else (said, None)
    try:
        return EpochLog(float(loss), None if accuracy is None else float(accuracy), examples, perf_counter() - start)
    except (TypeError, ValueError) as why:
        got = f"{settings.own_epoch} returned {type(said).__name__}"
        raise RequirementError(f"{got}: the mean loss is needed, or (mean loss, accuracy).") from why

"""One epoch of a pre-training run: the network that the settings ask for, and the plain loop of their system."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from coreselect.history import History
from coreselect.protocols import Loss
from coreselect_integrations.networks import NetworkSpec, route_call, spec_for
from coreselect_integrations.pretraining.dataset_shape import count_classes, image_shape
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.systems import SYSTEMS
from coreselect_integrations.systems import acl, sat
from coreselect_integrations.systems.augment import cropped_by
from coreselect_integrations.training.epoch_log import EpochLog
from coreselect_integrations.training.schedule import Schedule
from coreselect_integrations.training.workers import Worker


def network_for(settings: Settings, pool: Any, num_workers: int = 0) -> NetworkSpec:
    """Describe the network that the settings ask for on this data."""
    channels, size = image_shape(pool)
    system = SYSTEMS[settings.system]
    supervised = system.supervised
    family = "sat" if supervised else "acl" if system.attacked else "cl"
    return spec_for(
        settings.arch, family, channels=channels, size=size, stem=settings.stem, projection=settings.projection,
        classes=count_classes(pool, num_workers) if supervised else None,
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
    """Run the plain loop of the settings' system for one epoch, with random starts and augmentation from `draws`."""
    common: dict[str, Any] = {
        "generator": draws, "worker": worker, "loss": loss, "scheduler": schedule,
        "weights": weights, "history": history, "precision": settings.autocast_dtype, "device": device,
    }  # fmt: skip
    views = settings.views(epoch)
    if views is None:
        augment = cropped_by(settings.crop, spec.size, flip=bool(settings.flip))
        return sat.train_epoch(model, loader, optimizer, settings.attack, call=route_call, augment=augment, **common)
    return acl.train_epoch(model, loader, optimizer, settings.attack, views=views, **common)

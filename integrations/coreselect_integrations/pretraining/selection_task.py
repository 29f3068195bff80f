"""What a selection inside a training run reads: the network as it is, the pool, the validation images and the run's history."""

from __future__ import annotations

from typing import Any

import torch

from coreselect import Task
from coreselect.history import History
from coreselect.task.task import ModelTask
from coreselect_integrations.networks import RoutedNetwork, route_call
from coreselect_integrations.pretraining.settings import Settings


def selection_task(
    settings: Settings,
    network: RoutedNetwork,
    pool: Any,
    validation: Any,
    history: History,
    *,
    batch_size: int = 256,
    num_workers: int = 0,
    timeout: float = 0,
    device: torch.device | str | None = None,
) -> ModelTask:
    """Return the task of a run's selections: the loss and the attack of its settings, as they are before the first epoch.

    Args:
        settings: of the run.
        network: that the run trains.
        pool: map-style dataset, as for `pretrain`.
        validation: the same; may be empty.
        history: of the pool.
        batch_size: of the forward passes.
        num_workers, timeout, device: see `pretrain`.
    """
    return Task.from_model(
        network, pool, validation if len(validation) else None,
        loss=settings.loss(0), attack=settings.select_attack, call=route_call,
        capture=None if settings.capture == "head" else settings.capture, views=settings.views(0),
        batch_size=batch_size, num_workers=num_workers, timeout=timeout, device=device, history=history,
    )  # fmt: skip

"""What the training loops share: the log of an epoch, random starts, and some epochs on a whole dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import DataLoader, Dataset

from coreselect.protocols import Progress
from coreselect.seeding import generator as generator_of

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True, slots=True)
class EpochLog:
    """What one epoch did, as it went: the model moved between its batches.

    `loss` is the mean over examples, nats; `accuracy` in [0, 1] is the share classified rightly of the attacked inputs
    that the updates were made on, None without labels; `seconds` is wall-clock time, data loading included.
    """

    loss: float
    accuracy: float | None
    examples: int
    seconds: float


class Epoch(Protocol):
    """One pass over a loader: `sat.train_epoch` or `acl.train_epoch` with its own settings bound."""

    def __call__(
        self,
        model: nn.Module,
        loader: Any,
        optimizer: torch.optim.Optimizer,
        *,
        generator: torch.Generator,
        scheduler: LRScheduler | None = None,
        device: torch.device | str | None = None,
    ) -> EpochLog: ...


def random_start(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw uniform numbers in [−1, 1) of the shape of `x`, where the generator lives."""
    return (2 * torch.rand(x.shape, generator=generator, device=generator.device) - 1).to(x)


def triangle(optimizer: torch.optim.Optimizer, updates: int, rise: float = 0.2) -> LambdaLR:
    """Let the learning rate rise linearly over the first `rise` of all updates, then fall linearly to zero.

    Source: the cyclic schedule of Wong et al., "Fast is better than free: Revisiting adversarial training", ICLR 2020.
    """
    peak = max(1.0, rise * updates)
    return LambdaLR(optimizer, lambda t: min((t + 1) / peak, (updates - t) / max(1.0, updates - peak + 1), 1.0))


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
    """Train on a whole dataset: SGD (Nesterov, momentum 0.9), a triangular learning rate, a fresh shuffle an epoch.

    Args:
        model: changed in place.
        dataset: map-style; its items are what `epoch` reads.
        epoch: one pass; it is called `epochs` times with one generator.
        epochs: at least 0; 0 leaves the model as it is.
        batch_size, lr, weight_decay: of the optimiser; lr at its peak.
        seed: decides order, augmentation and random starts; no global random state moves.
        num_workers, device: of the loader and the batches.
        progress: called with ("warm-up", examples done, examples in all) after each batch.
    Returns:
        one log an epoch.
    """
    draws = generator_of(seed, "training")
    loader: DataLoader[Any] = DataLoader(
        dataset, batch_size, shuffle=True, num_workers=num_workers, generator=generator_of(seed, "order")
    )
    n = len(dataset)  # type: ignore[arg-type]  # map-style datasets have a length
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=weight_decay)
    scheduler = triangle(optimizer, epochs * len(loader))

    def counted(done: int) -> Iterator[Any]:
        for batch in loader:
            yield batch
            done += len(batch[0] if isinstance(batch, tuple | list) else batch)
            if progress is not None:
                progress("warm-up", done, epochs * n)

    return [
        epoch(model, counted(i * n), optimizer, generator=draws, scheduler=scheduler, device=device)
        for i in range(epochs)
    ]

"""What the training loops share: the log of an epoch, its random draws, and batches that tell how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from coreselect.protocols import Progress
from coreselect.seeding import generator

Augment = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True, slots=True)
class EpochLog:
    """What one epoch did, as it went: the model moved between its batches.

    `loss` is the mean over examples, nats; `accuracy` in [0, 1] is the share classified rightly of the inputs that the
    updates were made on (the attacked ones, where there was an attack), None without labels; `seconds` is wall-clock
    time, data loading included.
    """

    loss: float
    accuracy: float | None
    examples: int
    seconds: float


class Batches(Protocol):
    """A loader that knows how many batches it has."""

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...


class Told:
    """A loader that says after each batch how many examples of how many are done.

    Args:
        loader: yields tensors, or tuples that begin with one.
        part, total: what to call it, and how many examples there are in all.
        progress: called with (part, examples done, total); None for nobody.
        done: examples done before the first batch.
    """

    def __init__(self, loader: Batches, part: str, total: int, progress: Progress | None, done: int = 0) -> None:
        self.loader, self.part, self.total, self.progress, self.done = loader, part, total, progress, done

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        done = self.done
        for batch in self.loader:
            yield batch
            done += len(batch[0] if isinstance(batch, tuple | list) else batch)
            if self.progress is not None:
                self.progress(self.part, done, self.total)


def draws(seed: int, name: str, epoch: int) -> torch.Generator:
    """Return the generator of one epoch's augmentation and random starts: a function of (seed, name, epoch)."""
    return generator(seed, "draws", name, epoch)


def random_start(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw uniform numbers in [−1, 1) of the shape of `x`, where the generator lives."""
    return (2 * torch.rand(x.shape, generator=generator, device=generator.device) - 1).to(x)

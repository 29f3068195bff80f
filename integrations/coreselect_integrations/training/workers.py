"""What a training loop asks of the processes that train together: one process, or the ranks of a group, see `data_parallel`."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from coreselect.support.seeding import generator
from coreselect_integrations.training.batches import Batches, NonSingletonBatches

Made = TypeVar("Made")


class Worker:
    """A process that trains alone: it sees whole batches."""

    rank, world = 0, 1

    def generator(self, seed: int, *path: int | str) -> torch.Generator:
        """Return a new generator for random starts and augmentation, with the seed of (seed, path)."""
        return generator(seed, *path)

    def dealt(self, batches: NonSingletonBatches) -> Batches:
        """Return this process's share of each batch."""
        return batches

    def following(self, loader: Batches, draws: torch.Generator) -> Batches:
        """Return the loader of these shares; the generator is told of each."""
        del draws
        return loader

    def size(self, own: int) -> int:
        """Return the size of the whole batch, of which this process has `own` examples."""
        return own

    def forward(self, work: Callable[..., Made], *given: Any) -> Made:
        """Return work(*given): the forward passes of one update, in training mode."""
        return work(*given)

    def whole(self, own: Tensor) -> Tensor:
        """Return the values of the whole batch [B, …], given those of this process's examples; gradients reach its own."""
        return own

    def settle(self) -> None:
        """End an epoch: give all processes the same buffers."""


ALONE = Worker()

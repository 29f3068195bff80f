"""What every sampler of this package shares: an epoch, an order fixed by (seed, epoch), and each rank's share of it."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from coreselect.errors import ScheduleError
from coreselect.support.seeding import generator as seeded
from coreselect.types import Int64


class EpochSampler(Sampler[int]):
    """Yield the positions of the current epoch, in an order that is a function of (seed, epoch).

    Args:
        seed: of the order.
        shuffle: whether the order is random and new every epoch; else it is that of `_positions`.
        rank, world_size: this process's share of the epoch. All shares have the same length, padded from the front.
    """

    def __init__(self, seed: int, shuffle: bool, rank: int, world_size: int) -> None:
        self.seed, self.shuffle, self.rank, self.world_size = seed, shuffle, rank, world_size
        self.epoch: int | None = None

    @abstractmethod
    def _positions(self) -> Int64:
        """Return the positions of the current epoch, int64."""

    @abstractmethod
    def _schedule(self) -> dict[str, Any]:
        """Return the settings that a state must agree with."""

    def __iter__(self) -> Iterator[int]:
        if self.epoch is None:
            raise ScheduleError(
                "call sampler.set_epoch(epoch) at the start of every epoch: it decides what the epoch sees."
            )
        order = self._positions()
        if self.shuffle:
            order = order[torch.randperm(len(order), generator=seeded(self.seed, "order", self.epoch)).numpy()]
        if self.world_size > 1:
            order = np.resize(order, self._share(len(order)) * self.world_size)[self.rank :: self.world_size]
        return iter(order.tolist())

    def _share(self, count: int) -> int:
        """Return how many of `count` positions each rank gets."""
        return -(-count // self.world_size)

    def _check_state(self, state: dict[str, Any]) -> None:
        """Raise ScheduleError if a state was saved with another schedule."""
        for name, here in self._schedule().items():
            if state.get(name) != here:
                raise ScheduleError(f"the state has {name} {state.get(name)!r}, and this sampler has {here!r}.")


def check_epoch(epoch: int) -> None:
    """Raise ScheduleError if an epoch is negative."""
    if epoch < 0:
        raise ScheduleError(f"epochs count from 0, got {epoch}.")

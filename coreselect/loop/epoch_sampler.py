"""What every sampler of this package shares: an epoch, an order fixed by (seed, epoch), and each rank's share of it."""

import warnings
from abc import abstractmethod
from collections.abc import Iterator
from operator import length_hint
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from coreselect.errors import CoreselectWarning, ScheduleError
from coreselect.loop import same_epoch
from coreselect.loop.epoch_iterator import EpochIterator
from coreselect.loop.read_ahead import refuse_read_ahead
from coreselect.loop.readers import check_readers, no_batch_seen
from coreselect.support import ranks
from coreselect.support.seeding import generator as seeded
from coreselect.support.type_checks import LARGEST_SEED, whole
from coreselect.types import Int64


class EpochSampler(Sampler[int]):
    """Yield the positions of the epoch that is due, in an order that is a function of (seed, epoch).

    The epoch that is due is the last that `set_epoch` or a loaded state has told. Before that it is epoch 0, for one pass.

    Args:
        seed: of the order.
        shuffle: whether the order is random and new every epoch; else it is that of `_positions`.
        rank, world_size: this process's share of the epoch; None means those of the process group, 0 of 1 without one. All
            shares have the same length, padded from the front.
    Raises:
        ScheduleError: not 0 ≤ rank < world_size, or the seed is no whole number from 0 on.
    """

    def __init__(self, seed: int, shuffle: bool, rank: int | None, world_size: int | None) -> None:
        self.seed, self.shuffle = whole("seed", seed, ScheduleError, most=LARGEST_SEED), shuffle
        self._rank = None if rank is None else whole("rank", rank, ScheduleError)
        self._world_size = None if world_size is None else whole("world_size", world_size, ScheduleError, least=1)
        if not 0 <= self.rank < self.world_size:
            raise ScheduleError(
                f"a share of an epoch needs 0 ≤ rank < world_size, got {self.rank} of {self.world_size}: give both, or none in a "
                "process group."
            )
        self.epoch: int | None = None
        self.order: list[int] | None = None  # what iterators of this epoch read; None: no iterator has begun
        self._told = False  # whether the epoch was told, by set_epoch or a state
        self._told_before_load: int | None = None  # the epoch that was told when a state was loaded
        self._unread: int | None = None  # the highest epoch that was told since an iterator began
        self._passed = False  # whether a pass has ended since the last state was loaded
        self.reader: Iterator[int] | None = None  # of the last pass that has begun, until its end is noted
        self._by_loader = False  # whether a loader reads that pass
        self._weights_asked = False  # also True once the warning was given

    @property
    def rank(self) -> int:
        """Which share of the epoch this process reads."""
        return ranks.rank() if self._rank is None else self._rank

    @property
    def world_size(self) -> int:
        """Into how many shares the epoch is dealt out."""
        return ranks.world_size() if self._world_size is None else self._world_size

    @property
    @abstractmethod
    def pool_size(self) -> int:
        """N, the number of examples in the pool."""

    @abstractmethod
    def _needs_weights(self, by_loader: bool) -> bool:
        """Return whether training on the current epoch without `weights` is wrong; `by_loader`: whether a loader reads it."""

    @abstractmethod
    def _known_state(self) -> str:
        """Describe what was selected or learnt, so that ranks can compare it."""

    @abstractmethod
    def _positions(self) -> Int64:
        """Return the positions of the current epoch, int64."""

    @abstractmethod
    def _schedule(self) -> dict[str, Any]:
        """Return the settings that a state must agree with."""

    @abstractmethod
    def _prepare(self, epoch: int) -> bool:
        """Select, or drop, for an epoch; return whether what the epoch sees has changed although its number may be the same."""

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch: do what the schedule needs for it. A second call for the same epoch changes nothing.

        Iterators that have begun in another epoch end with a ScheduleError. In a process group every rank must call it.

        Args:
            epoch: ≥ 0.
        Raises:
            ScheduleError: the epoch is negative; ranks differ in epoch, schedule or state, one failed, or one does not answer;
                or Lightning tells the epoch, and has read the length of another.
        """
        refuse_read_ahead(self._told and self.epoch == epoch, self._varies)
        if ranks.world_size() > 1:
            schedule = {"sampler": type(self).__name__, "epoch": epoch, **self._schedule()}
            same_epoch.agree(schedule, (self.rank, self.world_size), self._known_state())
        epoch = whole("epoch", epoch, ScheduleError)
        self._note_end()
        changed = self._prepare(epoch)
        if changed or epoch != self.epoch:
            self._turn()
            self._unread = epoch if self._unread is None else max(self._unread, epoch)
        self.epoch, self._told, self._told_before_load = epoch, True, None

    @abstractmethod
    def _length_in(self, epoch: int) -> int:
        """Return how many positions of the pool an epoch sees, over all ranks; the upper bound where it is not known yet."""

    def _varies(self, epochs: int) -> bool:
        """Return whether the first epochs have different lengths."""
        return len(set(self.lengths(epochs))) > 1

    def lengths(self, epochs: int) -> list[int]:
        """Return how many positions this rank sees in each of the epochs 0 … epochs − 1. Nothing is selected.

        For `CoresetSampler` the numbers are exact. `InfoBatchSampler` drops by losses that are not known yet: the numbers are
        exact for epochs that drop nothing, and upper bounds for the others.

        Raises:
            ScheduleError: epochs is negative.
        """
        epochs = whole("epochs", epochs, ScheduleError)
        return [self._share(self._length_in(epoch)) for epoch in range(epochs)]

    def total_steps(self, epochs: int, batch_size: int, drop_last: bool = False) -> int:
        """Return how many batches a loader yields over the epochs 0 … epochs − 1, for schedules of the learning rate.

        Args:
            epochs: ≥ 0.
            batch_size: ≥ 1, of this rank.
            drop_last: whether the loader leaves out the last batch of an epoch if it is not full.
        Raises:
            ScheduleError: epochs or batch_size is out of range.
        """
        batch_size = whole("batch_size", batch_size, ScheduleError, least=1)
        return sum(n // batch_size if drop_last else -(-n // batch_size) for n in self.lengths(epochs))

    def __iter__(self) -> Iterator[int]:
        return EpochIterator.over(self)

    def begin(self) -> list[int]:
        """Return the list that an iterator of the epoch that is due reads; only iterators call this.

        Raises:
            ScheduleError: a pass over an epoch that nobody told has ended before, or the epoch went back to one before the
                epoch that was told and never read; or the loader around is not one for this pool and these ranks.
        """
        self._note_end()
        if not self._told:
            if self._passed:
                raise ScheduleError(
                    "a second pass begins, and set_epoch was never called: call sampler.set_epoch(epoch) at the start of "
                    "every epoch, it decides what the epoch sees."
                )
            self.set_epoch(0)
            self._told = False
        assert self.epoch is not None
        if self._unread is not None and self.epoch < self._unread:
            raise ScheduleError(
                f"the epoch went back from {self._unread} to {self.epoch} before epoch {self._unread} was read, as by a "
                f"framework that counts from 0 when it resumes: call set_epoch({self._unread}) last, or tell the framework "
                f"its epoch (Accelerate: loader.set_epoch({self._unread}))."
            )
        self._unread = None
        order = self._dealt().tolist() if self.order is None else self.order
        self._by_loader = check_readers(self.pool_size, self.world_size, len(order))
        self.order = order
        return order

    def _dealt(self) -> Int64:
        """Return this rank's share of the epoch, in its order."""
        order = self._positions()
        if self.shuffle:
            order = order[torch.randperm(len(order), generator=seeded(self.seed, "order", self.epoch or 0)).numpy()]
        if self.world_size == 1:
            return order
        return np.resize(order, self._share(len(order)) * self.world_size)[self.rank :: self.world_size]

    def finish(self) -> None:
        """Note that an iterator has yielded its last position; only iterators call this."""
        if self._by_loader and not no_batch_seen():
            self._note_end()

    def _note_end(self) -> None:
        """If a pass has been read to its end, note it, and warn once if its weights were needed and never asked for.

        It may be called late: a loader with workers may draw a whole epoch before its user sees a batch, and a batch sampler
        may draw exactly as many positions as there are.
        """
        if self.reader is None or length_hint(self.reader):
            return
        self.reader, self._passed = None, True
        self.warn_of_unasked_weights(self._by_loader)

    def warn_of_unasked_weights(self, by_loader: bool = True) -> None:
        """Warn once if weights of the current epoch are needed and `weights` was never called.

        The end of a pass calls it. Frameworks that give up passes call it at the end of an epoch.

        Args:
            by_loader: whether a loader reads the epoch.
        """
        if not self._weights_asked and self._needs_weights(by_loader):
            self._weights_asked = True
            warnings.warn(
                "an epoch has ended whose examples have weights, and sampler.weights was never called: train on "
                "(losses * sampler.weights(indices)).mean(), with DataLoader(Indexed(pool), sampler=sampler) for the indices.",
                CoreselectWarning,
                stacklevel=4,
            )

    def settle(self, epoch: int | None) -> bool:
        """After a loader has loaded a state of `epoch`: return to the epoch that was told before, if it is another.

        Returns:
            whether the state's epoch is the one that is due.
        """
        told = self._told_before_load
        self._told_before_load = None
        if told is not None and told != epoch:
            self.set_epoch(told)
        return self.epoch == epoch

    def _turn(self) -> None:
        """Empty the list that iterators read, since it is no longer what is due."""
        if self.order is not None:
            self.order.clear()
        self.order = None

    def _share(self, count: int) -> int:
        """Return how many of `count` positions each rank gets."""
        return -(-count // self.world_size)

    def _loaded(self, epoch: int | None) -> None:
        """Make the epoch of a state, which was checked, the one that is due."""
        self._told_before_load = self.epoch if self._told else None
        self._turn()
        self.epoch = self._unread = epoch
        self._told, self._passed, self.reader = epoch is not None, False, None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "order": None, "reader": None}  # a copy has no iterators

"""One pass over an epoch: it begins when its first position is read, knows where it is, and ends with a sentence if the epoch
changes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from operator import length_hint
from typing import TYPE_CHECKING, Any, cast

from coreselect.errors import ScheduleError
from coreselect.loop.state_checks import checked_epoch, entry
from coreselect.support.type_checks import whole

if TYPE_CHECKING:
    from coreselect.loop.epoch_sampler import EpochSampler


class EpochIterator(chain):
    """The positions of a sampler's epoch. `itertools.chain` reads them, so a position costs as little as in a list.

    The epoch is the one that is due when the first position is read. All iterators of an epoch read one list, which the sampler
    empties when its epoch changes: an iterator that had begun then raises ScheduleError, and one that had not serves the new epoch.

    `state_dict` holds the epoch and the position, which is what a stateful loader (torchdata's `StatefulDataLoader`) asks for.
    """

    _pass: _Pass

    @classmethod
    def over(cls, sampler: EpochSampler) -> EpochIterator:
        """Return an iterator that has not begun."""
        one = _Pass(sampler)
        made = cast("EpochIterator", cls.from_iterable(one.parts()))
        made._pass = one
        return made

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch (None: none is due yet) and how many of its positions were read."""
        return {"epoch": self._pass.epoch_due(), "position": self._pass.position()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Begin at a saved position, if its epoch is the one that is due; else at the start of the epoch that is due.

        A stateful loader loads its state only when it is iterated, so this comes after `set_epoch` whatever the order of the
        calls was. An epoch that `set_epoch` has told counts.

        Raises:
            ScheduleError: it is no such state.
        """
        epoch = checked_epoch(state, {})
        position = whole("position of the state", entry(state, "position"), ScheduleError)
        same = self._pass.sampler.settle(epoch)
        self._pass.start, self._pass.restored = position if same else 0, True


class _Pass:
    """The state of one pass."""

    def __init__(self, sampler: EpochSampler) -> None:
        self.sampler, self.start = sampler, 0
        self.restored = False  # by a loader, which may draw an epoch that it then gives up
        self.epoch: int | None = None  # None: not begun
        self.order: list[int] = []
        self.count = 0
        self.reader: Iterator[int] = iter(())

    def parts(self) -> Iterator[Iterator[int]]:
        """Yield the positions as one iterator; what stands before and after it runs at the first and after the last position."""
        self.order = self.sampler.begin()
        self.epoch, self.count = self.sampler.epoch, len(self.order)
        self.reader = iter(self.order)
        self.reader.__setstate__(min(self.start, self.count))  # type: ignore[attr-defined]  # of a list's iterator
        self.sampler.reader = None if self.restored else self.reader
        yield self.reader
        if self.order is not self.sampler.order:
            raise ScheduleError(
                f"an iterator that began in epoch {self.epoch} is read on in epoch {self.sampler.epoch}: call "
                "set_epoch(epoch) first, and make the iterator, iter(loader), after it."
            )
        self.sampler.finish()

    def epoch_due(self) -> int | None:
        """Return the epoch of a pass that has begun, else the one that is due."""
        return self.sampler.epoch if self.epoch is None else self.epoch

    def position(self) -> int:
        """Return how many positions were read."""
        return self.start if self.epoch is None else self.count - length_hint(self.reader)

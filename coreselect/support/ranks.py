"""What the processes of a torch process group say to each other: that they do the same work, and why one of them failed.

Short messages go through the group's store, whatever its backend is, with a timeout of our own. So nobody enters a collective
before all have said that they will, a process that does not answer is named, and a failure leaves the group as it was.

A process speaks in turns: the n-th message of one is read together with the n-th of all others. `together` is a piece of work
with many turns. The first failure ends it for all: the rank that fails says why in place of its next message.
"""

import pickle
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist

from coreselect.errors import ScheduleError, first_few
from coreselect.support.alive import ended_ranks, identity, without_a_word
from coreselect.support.told import Failure, istold, told

TIMEOUT = timedelta(minutes=30)  # one process may evaluate, or select, that much longer than another
LINGER = 10.0  # seconds in which a process that may end lets the others read its last message
LOOK = 2.0  # seconds between two looks whether a silent process has ended
THE_END = "the end"
Made = TypeVar("Made")


@dataclass(frozen=True)
class Word:
    """A message in a piece of work.

    Attributes:
        stage: where in the work the rank is.
        value: what it says there.
        failed: why it failed, or None.
    """

    stage: str
    value: Any = None
    failed: str | None = None


def rank() -> int:
    """Return the number of this process in its group; 0 without one."""
    return dist.get_rank() if _in_group() else 0


def world_size() -> int:
    """Return the number of processes in the group; 1 without one."""
    return dist.get_world_size() if _in_group() else 1


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized()


def _store() -> Any:
    from torch.distributed.distributed_c10d import PrefixStore, _get_default_store

    return PrefixStore("coreselect", _get_default_store())


def _speak(store: Any, mine: Any) -> int:
    """Leave a message for all, and return the number of its turn."""
    me = rank()
    turn = store.add(f"turns/{me}", 1)
    if turn == 1:
        store.set(f"who/{me}", identity())
    if isinstance(mine, Word) and mine.failed is not None:
        store.set(f"{turn}/failed", "")
    store.set(f"{turn}/{me}", pickle.dumps(mine).hex())
    return turn


def exchange(mine: Any, purpose: str, *, linger: bool = True) -> list[Any]:
    """Give a short message to all processes, and return those of all, by rank.

    Args:
        mine: any object that can be pickled.
        purpose: what every process must do, for the error.
        linger: return when all have read the messages, since the process that holds the store may end afterwards.
    Raises:
        ScheduleError: a process did not answer within `TIMEOUT`, or has ended.
    """
    me, world = rank(), world_size()
    if world == 1:
        return [mine]
    store = _store()
    turn = _speak(store, mine)
    keys = [f"{turn}/{r}" for r in range(world)]
    _wait(store, keys, purpose)
    said = [pickle.loads(bytes.fromhex(store.get(key).decode())) for key in keys]
    store.add(f"{turn}/read", 1)
    if linger or any(isinstance(s, Word) and s.failed is not None for s in said):
        _linger(store, turn, world)
    with suppress(RuntimeError):
        store.delete_key(f"{turn - 1}/{me}")  # all have gone on from the turn before
    return said


def _wait(store: Any, keys: list[str], purpose: str) -> None:
    """Wait for the messages of a turn."""
    me, world = rank(), len(keys)
    start, pause = time.monotonic(), 0.0002
    until, look = start + TIMEOUT.total_seconds(), start + LOOK
    try:
        while not store.check(keys):
            time.sleep(pause)
            pause = min(2 * pause, 0.02)
            now = time.monotonic()
            if now < min(look, until):
                continue
            look = now + LOOK
            silent = [r for r in range(world) if not store.check([keys[r]])]
            dead = {*ended_ranks(store, me, world)} if silent else set()
            gone = [r for r in silent if r in dead]
            if gone:
                raise without_a_word(gone, world, purpose)
            if silent and now >= until:
                raise ScheduleError(
                    f"rank {first_few(silent)} of {world} did not answer rank {me} within {TIMEOUT}: every rank must {purpose}."
                )
    except RuntimeError as why:
        raise ScheduleError(
            f"rank {me} cannot reach the group's store, while every rank had to {purpose} ({str(why).splitlines()[0]}): "
            "the process that holds it, usually rank 0, has ended; look at what it wrote."
        ) from why


def ended() -> list[int]:
    """Return the ranks whose processes have ended, as far as it can be known from here."""
    return ended_ranks(_store(), rank(), world_size())


def _linger(store: Any, turn: int, world: int) -> bool:
    """Let the others read a turn; return whether all have."""
    with suppress(RuntimeError):  # the process that holds the store may leave as soon as all have read
        until = time.monotonic() + LINGER
        while store.add(f"{turn}/read", 0) < world:
            if time.monotonic() >= until:
                return False
            time.sleep(0.001)
    return True


class Work:
    """A piece of work that all processes do together, stage by stage; see `together`."""

    def __init__(self, purpose: str) -> None:
        self.purpose = purpose
        self._silence = False  # somebody does not answer
        self._meeting: Any = None  # a `coreselect.support.meeting.Meeting`, which imports this file

    def meet(self, meeting: Any) -> None:
        """Make a round of a meeting before each message from now on; None: make none any more."""
        self._meeting = meeting

    def silent(self, why: Failure) -> Failure:
        """Return an error after which nobody need wait until all have read it: one of the ranks cannot."""
        self._silence, self._meeting = True, None
        return why

    def say(self, stage: str, value: Any = None, *, linger: bool = False) -> list[Any]:
        """Give a value to all processes at the same stage, and return those of all, by rank.

        Raises:
            ScheduleError: another process has failed, or it is at another stage.
        """
        meeting, last = self._meeting, stage == THE_END
        if meeting is not None:
            self._meeting = None if last else meeting
            meeting.leave(failed=False) if last else meeting.round()
        self._silence = True
        said: list[Word] = exchange(Word(stage, value), self.purpose, linger=linger)
        self._silence = False
        for number, word in enumerate(said):
            if word.failed is not None:
                raise told(ScheduleError(f"rank {number} failed while every rank had to {self.purpose}: {word.failed}"))
        other = next((r for r, word in enumerate(said) if word.stage != said[0].stage), None)
        if other is not None:
            raise told(
                ScheduleError(
                    f"rank {other} is at {said[other].stage}, and rank 0 at {said[0].stage}, while every rank had to "
                    f"{self.purpose}: make the same task with the same settings on every rank."
                )
            )
        return [word.value for word in said]

    def agree(self, stage: str, facts: dict[str, Any]) -> None:
        """Check that all processes name the same facts.

        Raises:
            ScheduleError: they do not; in every process.
        """
        said = self.say(stage, facts)
        for number, theirs in enumerate(said):
            for name in {**said[0], **theirs}:
                if theirs.get(name) != said[0].get(name):
                    raise told(
                        ScheduleError(
                            f"rank {number} has {name} {theirs.get(name)!r}, and rank 0 has {said[0].get(name)!r}: every rank "
                            f"must {self.purpose} with the same task and settings."
                        )
                    )

    def hears_failure(self) -> bool:
        """Return whether a process has failed in the turn to come, without waiting for it."""
        store = _store()
        return bool(store.check([f"{store.add(f'turns/{rank()}', 0) + 1}/failed"]))

    def fail(self, why: Exception) -> None:
        """Say why this process failed, unless the others know it."""
        meeting, self._meeting = self._meeting, None
        if istold(why):
            return
        told(why)
        if meeting is not None:
            meeting.leave(failed=True)
        with suppress(RuntimeError):
            store = _store()
            turn = _speak(store, Word("failed", failed=f"{type(why).__name__}: {why}"))
            store.add(f"{turn}/read", 1)
            if not self._silence and not _linger(store, turn, world_size()):
                why.unheard = True  # type: ignore[attr-defined]


def together(work: Callable[[Work], Made], purpose: str) -> Made:
    """Do the same in every process; if one fails, all raise.

    Args:
        work: gets the `Work` by which it may speak; it is called in a single process too.
        purpose: what every process must do, for the error.
    Raises:
        ScheduleError: another process failed; its reason is in the message. A process that fails raises its own error.
    """
    here = Work(purpose)
    if world_size() == 1:
        return work(here)
    try:
        made = work(here)
    except Exception as why:
        here.fail(why)
        raise
    here.say(THE_END, linger=True)
    return made

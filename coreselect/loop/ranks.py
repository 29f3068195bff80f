"""What the processes of a torch process group say to each other in `set_epoch`: that they mean the same, and why one failed.

Short messages go through the group's store, whatever its backend is, and with a timeout of their own; so a process that does not
answer is named. Every process must call `set_epoch` equally often.
"""

import pickle
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist

from coreselect.errors import ScheduleError, first_few

TIMEOUT = timedelta(minutes=30)  # one process may evaluate, or select, that much longer than another
Made = TypeVar("Made")


def rank() -> int:
    """Return the number of this process in its group; 0 without one."""
    return dist.get_rank() if _in_group() else 0


def world_size() -> int:
    """Return the number of processes in the group; 1 without one."""
    return dist.get_world_size() if _in_group() else 1


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized()


def exchange(mine: Any, purpose: str) -> list[Any]:
    """Give a short message to all processes, and return those of all, by rank.

    Args:
        mine: any object that can be pickled.
        purpose: what every process must do, for the error.
    Raises:
        ScheduleError: a process did not answer within `TIMEOUT`.
    """
    me, world = rank(), world_size()
    if world == 1:
        return [mine]
    from torch.distributed.distributed_c10d import PrefixStore, _get_default_store

    store = PrefixStore("coreselect", _get_default_store())
    turn = store.add(f"turns/{me}", 1)
    keys = [f"{turn}/{r}" for r in range(world)]
    store.set(keys[me], pickle.dumps(mine).hex())
    try:
        store.wait(keys, TIMEOUT)
    except RuntimeError as why:
        silent = [r for r in range(world) if not store.check([keys[r]])]
        raise ScheduleError(
            f"rank {first_few(silent)} of {world} did not answer rank {me} within {TIMEOUT}: every rank must {purpose}."
        ) from why
    said = [pickle.loads(bytes.fromhex(store.get(key).decode())) for key in keys]
    store.add(f"{turn}/read", 1)
    with suppress(RuntimeError):  # the process that holds the store may leave as soon as all have read
        until = time.monotonic() + 10
        while store.add(f"{turn}/read", 0) < world and time.monotonic() < until:
            time.sleep(0.001)
        store.delete_key(f"{turn - 1}/{me}")  # all have gone on from the turn before
    return said


def agree(about: dict[str, Any], shares: tuple[int, int], state: str) -> None:
    """Check that all processes mean the same epoch of the same schedule in the same state, and that all shares are read.

    Args:
        about: the epoch and the schedule.
        shares: rank and world_size of this process's sampler.
        state: what the sampler knows, in words.
    Raises:
        ScheduleError: they do not; in every process.
    """
    said = exchange((about, shares, state), "call set_epoch with the same epoch")
    first = said[0][0]
    for number, (theirs, _, known) in enumerate(said):
        for name in {**first, **theirs}:
            if theirs.get(name) != first.get(name):
                raise ScheduleError(
                    f"rank {number} has {name} {theirs.get(name)!r}, and rank 0 has {first.get(name)!r}: make the same sampler "
                    "and call set_epoch with the same epoch on every rank."
                )
        if known != said[0][2]:
            raise ScheduleError(
                f"rank {number} has {known}, and rank 0 has {said[0][2]}: load the same state on every rank, or on none."
            )
    _check_shares([s for _, s, _ in said])


def _check_shares(shares: Sequence[tuple[int, int]]) -> None:
    """Raise ScheduleError if the processes deal an epoch out in different ways, or if nobody reads one of the shares."""
    worlds = sorted({world for _, world in shares})
    if len(worlds) > 1:
        raise ScheduleError(
            f"the samplers of the ranks have world_size {first_few(worlds)}: give all the same, or leave rank and world_size out."
        )
    unread = sorted(set(range(worlds[0])) - {share for share, _ in shares})
    if unread and len(shares) >= worlds[0]:
        raise ScheduleError(
            f"no process reads share {first_few(unread)} of {worlds[0]}, since their ranks are "
            f"{first_few([share for share, _ in shares])}: leave rank and world_size out, or give each process its own rank."
        )


def together(work: Callable[[], Made], purpose: str) -> Made:
    """Do the same in every process; if one fails, all raise.

    Raises:
        ScheduleError: another process failed; its reason is in the message. A process that fails raises its own error.
    """
    if world_size() == 1:
        return work()
    failed: Exception | None = None
    made: Any = None
    try:
        made = work()
    except Exception as why:
        failed = why
    said = exchange(failed and f"{type(failed).__name__}: {failed}", purpose)
    if failed is not None:
        raise failed
    for number, reason in enumerate(said):
        if reason is not None:
            raise ScheduleError(f"rank {number} failed while every rank had to {purpose}: {reason}")
    return made


def of_rank_0(value: Made) -> Made:
    """Return rank 0's value in every process."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]

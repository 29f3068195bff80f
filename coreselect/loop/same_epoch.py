"""Whether the processes of a group mean the same epoch of the same schedule, and read all shares of it."""

from collections.abc import Sequence
from typing import Any

from coreselect.errors import ScheduleError, first_few
from coreselect.support.ranks import Work


def agree(about: dict[str, Any], shares: tuple[int, int], state: str) -> None:
    """Check that all processes mean the same epoch of the same schedule in the same state, and that all shares are read.

    Args:
        about: the epoch and the schedule.
        shares: rank and world_size of this process's sampler.
        state: what the sampler knows, in words.
    Raises:
        ScheduleError: they do not; in every process.
    """
    said = Work("call set_epoch with the same epoch").say("set_epoch", (about, shares, state), linger=True)
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

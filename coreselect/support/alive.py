"""Whether another process of this machine has ended, by the tables of Linux; nothing is known elsewhere."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from coreselect.errors import ScheduleError, first_few


def identity() -> str:
    """Return what names this process: machine and namespace, number and time of start; empty where that cannot be known."""
    with suppress(OSError):
        machine = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{machine} {os.readlink('/proc/self/ns/pid')} {os.getpid()} {_started(os.getpid())}"
    return ""


def has_ended(named: str) -> bool:
    """Return whether a process with this identity has ended, as far as it can be known from here."""
    mine, theirs = identity().split(), named.split()
    if len(mine) != 4 or len(theirs) != 4 or mine[:2] != theirs[:2]:
        return False
    try:
        return _started(int(theirs[2])) != theirs[3]
    except FileNotFoundError:
        return True
    except (OSError, IndexError):
        return False


def _started(pid: int) -> str:
    """Return when a process has started, in ticks since the machine has; "ended" for one that nobody has waited for yet."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return "ended" if fields[0] in "ZX" else fields[19]


def ended_ranks(store: Any, me: int, world: int) -> list[int]:
    """Return the other ranks of a group whose processes have ended, by the identities that they have left in its store."""
    others = [r for r in range(world) if r != me and store.check([f"who/{r}"])]
    return [r for r in others if has_ended(store.get(f"who/{r}").decode())]


def without_a_word(gone: list[int], world: int, purpose: str) -> ScheduleError:
    """Return the error for ranks that have ended."""
    return ScheduleError(
        f"rank {first_few(gone)} of {world} has ended without a word, while every rank had to {purpose}: look at what it wrote."
    )

"""The sole use of a place where a command writes: the folder of a run, or an index file.

A second process is refused with one sentence. What killed writers left there is swept. A process may take a place that it has
already: a command and the training that it calls share one lock. Processes that do one work together share a place.
"""

import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from coreselect.errors import CoreselectWarning, DataError
from coreselect.io.atomic import sweep
from coreselect.io.folder_lock import NAME, FolderLock
from coreselect.io.system_lock import NoLocksError

WAIT = 0.1  # seconds between two looks at a place that another process uses


class NoLocksWarning(CoreselectWarning):
    """A file system without locks: nothing keeps two processes from writing into one folder."""


class SoleUse:
    """The sole use of a place by this process, until `release`, the end of this object or the end of the process.

    Args:
        folder: of the lock; made if it is missing.
        name: of the lock's file.
        what: what the place is, for messages.
        shown: what is in use, for messages; None: the folder.
    Raises:
        DataError: another process uses it, or the folder cannot be written.
    Warns:
        NoLocksWarning: there are no locks here.
    """

    def __init__(
        self, folder: Path, name: str = NAME, what: str = "the folder of a run", shown: Path | None = None
    ) -> None:
        self._key: Path | None = None
        key = Path(os.path.realpath(folder)) / name
        if key not in _locks:
            lock = _lock(folder, name=name, what=what, shown=shown)
            if lock is None:
                return
            _locks[key] = lock
            sweep(folder)
        _users[key] = _users.get(key, 0) + 1
        self._key = key

    def release(self) -> None:
        """End this use; the last one of a process lets other processes in."""
        key, self._key = self._key, None
        if key is None or key not in _users:
            return
        _users[key] -= 1
        if not _users[key]:
            del _users[key]
            _locks.pop(key).release()

    def __del__(self) -> None:
        with suppress(Exception):  # at the end of the interpreter, anything may be gone
            self.release()


def _lock(folder: Path, **settings: Any) -> FolderLock | None:
    """Take a lock; None with a warning where there are no locks."""
    try:
        return FolderLock(folder, error=DataError, **settings)
    except DataError as why:
        if not isinstance(why.__cause__, NoLocksError):
            raise
        warnings.warn(
            f"{folder} has no file locks ({why.__cause__.strerror}), so nothing keeps two processes apart there: run one at a "
            "time.",
            NoLocksWarning,
            stacklevel=3,
        )
        return None


@contextmanager
def shared_use(folder: Path, what: str) -> Iterator[None]:
    """Keep processes that need a folder alone out of it while the block runs; those that share it too are let in.

    Args:
        what: what the folder is used as, for messages.
    Raises:
        DataError: a process uses it alone, or it cannot be written.
    Warns:
        NoLocksWarning: there are no locks here.
    """
    lock = _lock(folder, what=what, shared=True)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _waited_for(folder: Path) -> SoleUse:
    """Take a folder as soon as no other process uses it; one that dies lets go."""
    while True:
        try:
            return SoleUse(folder)
        except DataError as why:
            if why.__cause__ is not None:  # the folder cannot be used at all
                raise
        time.sleep(WAIT)


@contextmanager
def sole_use(folder: Path, *, patient: bool = False) -> Iterator[None]:
    """Keep other processes out of the folder of a run while the block runs; see `SoleUse`.

    Args:
        patient: wait for another process that uses it; else refuse.
    """
    use = _waited_for(folder) if patient else SoleUse(folder)
    try:
        yield
    finally:
        use.release()


@contextmanager
def sole_writing(file: Path) -> Iterator[None]:
    """Keep other processes from making the same file while the block runs; see `SoleUse`."""
    target = Path(os.path.realpath(file))
    use = SoleUse(target.parent, f".{target.name}.lock", f"the folder of {target.name}", file)
    try:
        yield
    finally:
        use.release()


_locks: dict[Path, FolderLock] = {}
_users: dict[Path, int] = {}


def _forget() -> None:
    """A forked child holds no lock of its parent."""
    _locks.clear()
    _users.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

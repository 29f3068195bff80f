"""A folder that one process at a time may use: a lock that ends with the process, however it ends.

It is an advisory lock of the system (`flock`) on a file in the folder; the file names who holds it, for the message to others.
The file is removed when the lock is released; one that a killed process left behind is in nobody's way.
"""

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

from coreselect.errors import CoreselectError, StoreError
from coreselect.io.system_lock import NoLocksError, is_at, try_lock

NAME = "lock"


class FolderLock:
    """The lock of a folder, held until `release` or the end of the process; child processes do not hold it.

    Args:
        folder: it is made if it is missing, and removed again on release if it is still empty.
        name: of the lock's file in the folder.
        what: what the folder is used as, for messages.
        shown: what is in use, for messages; None: the folder.
        error: the class of the refusals.
    Raises:
        CoreselectError: another process holds the lock, the folder cannot be written, or there are no locks, which is caused
            by a `NoLocksError`; of the class `error`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = NAME,
        what: str = "a store",
        shown: Path | None = None,
        error: type[CoreselectError] = StoreError,
    ) -> None:
        self.folder, self._path, self._handle = folder, folder / name, -1
        try:
            self._made = [p for p in (folder, *folder.parents) if not p.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            handle, holder = _taken(self._path)
        except NoLocksError as why:
            raise error(
                f"{folder} has no file locks ({why.strerror}), and {what} needs them: give a folder on another file system."
            ) from why
        except OSError as why:
            raise error(
                f"{folder} cannot be used as {what} ({why.strerror}): give a folder that you can write."
            ) from why
        if handle is None:
            raise error(f"{shown or folder} is in use by {holder}: wait until it is done, or give another place.")
        self._handle = handle
        _held.add(self)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def release(self) -> None:
        """Let others use the folder."""
        if self._handle >= 0:
            with suppress(OSError):
                self._path.unlink()
            os.close(self._handle)
            self._handle = -1
            _held.discard(self)
            with suppress(OSError):  # one that is not empty stays, with those above it
                for folder in self._made:
                    folder.rmdir()


def _taken(path: Path) -> tuple[int | None, str]:
    """Open the file of a lock and lock it: its handle; or None, and who holds it.

    Raises:
        OSError: the file cannot be made, or there are no locks.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not try_lock(handle):
                holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
                os.close(handle)
                return None, holder
        except BaseException:
            os.close(handle)
            raise
        if is_at(handle, path):
            return handle, ""
        os.close(handle)  # the process before has just removed it


_held: WeakSet[Any] = WeakSet()


def _forget() -> None:
    """Close a forked child's copies: a worker that outlives its parent must not keep the folder locked."""
    for lock in list(_held):
        os.close(lock._handle)
        lock._handle = -1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

"""A folder that one process at a time may use: a lock that ends with the process, however it ends.

It is an advisory lock of the system (`flock`) on a file in the folder; the file names who holds it, for the message to others.
"""

import os
import socket
from pathlib import Path
from typing import Any
from weakref import WeakSet

from coreselect.errors import StoreError

NAME = "lock"


class FolderLock:
    """The lock of a folder, held until `release` or the end of the process; child processes do not hold it.

    Args:
        folder: it is made if it is missing.
    Raises:
        StoreError: another process holds the lock, the folder cannot be written, or the system has no such locks.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._handle = -1
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as why:
            raise StoreError(
                f"{folder} cannot be used as a store ({why.strerror}): give a folder that you can write."
            ) from why
        try:
            _take(handle)
        except BlockingIOError:
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(handle)
            raise StoreError(
                f"{folder} is in use by {holder}: wait until it is done, or give another folder."
            ) from None
        except BaseException:
            os.close(handle)
            raise
        self._handle = handle
        _held.add(self)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def release(self) -> None:
        """Let others use the folder."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
            _held.discard(self)


def _take(handle: int) -> None:
    try:
        import fcntl
    except ImportError as why:
        raise StoreError(
            "a store needs file locks (flock), which this system does not have: select without one."
        ) from why
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as why:
        raise StoreError(
            f"the file system of the store has no locks ({why.strerror}): give a folder on another one."
        ) from why


_held: WeakSet[Any] = WeakSet()


def _forget() -> None:
    """Close a forked child's copies: a worker that outlives its parent must not keep the folder locked."""
    for lock in list(_held):
        os.close(lock._handle)
        lock._handle = -1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

"""A folder that one process at a time may use: a lock that ends with the process, however it ends.

It is an advisory lock of the system (`flock`) on a file in the folder; the file names who holds it, for the message to others.
The file is removed when the lock is released; one that a killed process left behind is in nobody's way. A file with any other
content, or a link, is somebody's own, and stays as it is.
"""

import os
import re
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

from coreselect.errors import CoreselectError, StoreError
from coreselect.io.system_lock import NoLocksError, is_at, try_lock

NAME = ".coreselect.lock"
TRIES = 20  # of making a folder that others may remove at the same time
CONTENT = re.compile(r"process [0-9]+ on [^\n]*\n?")


class FolderLock:
    """The lock of a folder, held until `release` or the end of the process; child processes do not hold it.

    Args:
        folder: it is made if it is missing, and removed again on release if it is still empty.
        name: of the lock's file in the folder.
        what: what the folder is used as, for messages.
        shown: what is in use, for messages; None: the folder.
        shared: hold it with others that share it: it only keeps those out who need the folder alone.
        error: the class of the refusals.
    Raises:
        CoreselectError: another process holds the lock, its file is not ours, the folder cannot be written, or there are no
            locks, which is caused by a `NoLocksError`; of the class `error`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = NAME,
        what: str = "a store",
        shown: Path | None = None,
        error: type[CoreselectError] = StoreError,
        shared: bool = False,
    ) -> None:
        self.folder, self._path, self._handle, self._shared = folder, folder / name, -1, shared
        try:
            handle, holder = self._first_taken()
        except FileExistsError as why:
            if not folder.is_dir():
                is_what = f"a link to {folder.readlink()}, which is no folder" if folder.is_symlink() else "no folder"
                raise error(f"{folder} is {is_what}, and is to be used as {what}: give another folder.") from why
            raise error(
                f"{self._path} is no lock of ours, and {folder} needs one there to be used as {what}: move it away, or give "
                "another folder."
            ) from why
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
        try:
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        except OSError as why:
            self.release()
            raise error(
                f"{self._path} cannot be written ({why.strerror}), and {what} needs it: make space, or give another folder."
            ) from why

    def _first_taken(self) -> tuple[int | None, str]:
        """Make the folder and take the lock in it; see `_taken`."""
        tries = TRIES
        while True:
            tries -= 1
            self._made = [p for p in (self.folder, *self.folder.parents) if not p.exists()]
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                return _taken(self._path, shared=self._shared)
            except FileNotFoundError:  # another process, which had made the folder, has just removed it
                if not tries:
                    raise

    def release(self) -> None:
        """Let others use the folder."""
        if self._handle >= 0:
            with suppress(OSError):
                if not self._shared or try_lock(self._handle):  # nobody else holds it
                    self._path.unlink()
            os.close(self._handle)
            self._handle = -1
            _held.discard(self)
            with suppress(OSError):  # one that is not empty stays, with those above it
                for folder in self._made:
                    folder.rmdir()


def _taken(path: Path, *, shared: bool) -> tuple[int | None, str]:
    """Open the file of a lock and lock it: its handle; or None, and who holds it.

    Raises:
        FileExistsError: there is something else under this name.
        OSError: the file cannot be made, or there are no locks.
    """
    while True:
        handle = _opened(path)
        try:
            locked, holder = try_lock(handle, shared=shared), _content(handle, path)
        except BaseException:
            os.close(handle)
            raise
        if not locked:
            os.close(handle)
            return None, holder or "another process"
        if is_at(handle, path):
            return handle, ""
        os.close(handle)  # the process before has just removed it


def _opened(path: Path) -> int:
    """Open the file of a lock, made if it is missing; never what a link names.

    Raises:
        FileExistsError: there is a link under this name.
        OSError: the file cannot be made.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    except OSError as why:
        if path.is_symlink():
            raise FileExistsError(str(path)) from why
        raise


def _content(handle: int, path: Path) -> str:
    """Return what the file of a lock says, without the end of its line; "" is said by one whose holder was killed early.

    Raises:
        FileExistsError: it is no file of a lock.
    """
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise FileExistsError(str(path))
    said = os.pread(handle, 1000, 0).decode(errors="replace")
    if said and not CONTENT.fullmatch(said):
        raise FileExistsError(str(path))
    return said.strip()


_held: WeakSet[Any] = WeakSet()


def _forget() -> None:
    """Close a forked child's copies: a worker that outlives its parent must not keep the folder locked."""
    for lock in list(_held):
        os.close(lock._handle)
        lock._handle = -1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

"""Advisory locks of the operating system on open files (`flock`): they end with the process, however it ends."""

import errno
import os
from pathlib import Path

HELD = (errno.EAGAIN, errno.EACCES)  # another process has the lock


class NoLocksError(OSError):
    """The operating system, or the file system of the file, has no such locks."""


def try_lock(handle: int, *, shared: bool = False) -> bool:
    """Take the lock of an open file if it is free, and return whether it was.

    Args:
        shared: with others that share it, and with nobody who has it alone.
    Raises:
        NoLocksError: there are no locks here; `strerror` says why.
    """
    try:
        import fcntl
    except ImportError as why:
        raise NoLocksError(errno.ENOTSUP, "this system has no flock") from why
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as why:
        if why.errno in HELD:
            return False
        raise NoLocksError(why.errno, why.strerror or "no flock") from why
    return True


def is_at(handle: int, path: Path) -> bool:
    """Return whether an open file is still the one at this path: another process may have removed or replaced it."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except OSError:
        return False

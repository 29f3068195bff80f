"""Work that several processes take from one list: each piece is locked by the process that does it, and is done once.

The locks are those of the operating system, so the piece of a killed process is free again at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from coreselect.errors import DataError
from coreselect.io.folder_lock import FolderLock
from coreselect.io.system_lock import NoLocksError

LOOK = 1.0  # seconds until a process looks again whether others are done


@contextmanager
def taken(folder: Path, name: str) -> Iterator[bool]:
    """Take a piece of work while the block runs; False if another process has it. Without locks here, nobody else has.

    Raises:
        DataError: the folder cannot be written.
    """
    lock = None
    try:
        lock = FolderLock(folder, name=f".{name}.lock", what="the folder of a race", error=DataError)
    except DataError as why:
        if why.__cause__ is None:
            yield False
            return
        if not isinstance(why.__cause__, NoLocksError):
            raise
    try:
        yield True
    finally:
        if lock is not None:
            lock.release()


def dealt(
    names: Sequence[str], folder: Path, done: Callable[[str], bool], pause: Callable[[float], None]
) -> Iterator[str]:
    """Yield the pieces that this process gets, until all are done, by whichever process.

    Args:
        names: of the pieces, in the order in which they are taken; valid names of files.
        folder: of the locks.
        done: whether a piece is finished; it must be when the block of the loop ends.
        pause: waits so many seconds, while others work.
    """
    while to_do := [name for name in names if not done(name)]:
        for name in to_do:
            with taken(folder, name) as mine:
                if mine:
                    if not done(name):
                        yield name
                    break
        else:
            pause(LOOK)

"""Files that are whole: a crash at any moment leaves the old file or the new one, never a part."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Yield a binary file that takes the place of `path` only once the block has ended well.

    The bytes go to a temporary name in the same folder (made if it is missing), are flushed and synced, and the name
    is then replaced, which a POSIX file system does in one step; the folder is synced last, so that the new name
    survives a power cut too. If the block, or any of these steps, fails, the temporary file is removed and `path` is
    as it was. A symbolic link is followed; the permissions of a file that is replaced are kept.

    Args:
        path: where the file shall be.
    Raises:
        OSError: the folder cannot be made or written, or the disk is full.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".coreselect-{secrets.token_hex(8)}.tmp"
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            os.chmod(temporary, target.stat().st_mode & 0o777)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Ask for the new name to reach the disk; where a folder cannot be synced, old-or-new holds all the same."""
    if os.name == "nt":
        return
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

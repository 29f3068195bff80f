"""Complete files: after a crash at any moment there is the old file or the new file, never a part of one."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from coreselect.errors import DataError


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a binary file that replaces `path` only if the block ends without an error.

    The bytes are written to a temporary name in the same folder, which is made if it is missing, and synced to disk. Then
    the temporary file is renamed to `path`; a POSIX file system does this in one step. At last the folder is synced, so
    that the new name also survives a power cut. If the block or one of these steps fails, the temporary file is removed and
    `path` stays as it was. A symbolic link is followed. A replaced file keeps its permissions.

    Args:
        path: the name of the file.
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
    except OSError as why:
        if why.filename in (None, str(temporary)):  # a user knows the file by its final name
            why.filename, why.filename2 = str(target), None
        raise
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)


def check_target(path: str | Path) -> None:
    """Refuse, before any work, a path at which `atomic_file` could not write a file.

    Raises:
        DataError: it is a folder, a pipe or a device; is below a file; or its folder is closed to this user.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        kind = "a folder" if target.is_dir() else "no ordinary file"
        raise DataError(f"{path} is {kind}, and a file is to be written: give the name of a file.")
    there = next(p for p in target.parents if p.exists())
    if not there.is_dir():
        raise DataError(f"{path} is below {there}, which is a file: give a path below a folder.")
    if not os.access(there, os.W_OK):
        raise DataError(f"{path} cannot be written, because {there} is closed to this user: choose another place.")


def _sync_folder(folder: Path) -> None:
    """Sync the new name to disk. Some systems cannot sync a folder; the file is then still the old or the new one."""
    if os.name == "nt":
        return
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

"""Complete files: after a crash at any moment there is the old file or the new file, never a part of one."""

import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from coreselect.errors import DataError
from coreselect.io.folder_contents import found_in
from coreselect.io.system_lock import NoLocksError, is_at, try_lock

TEMPORARY = ".coreselect-*.tmp"


class _Writes(io.FileIO):
    """A file that remembers why it could not be written: libraries that write raise errors of their own in place of that."""

    failed: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as why:
            self.failed = why
            raise


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a binary file that replaces `path` only if the block ends without an error.

    The bytes are written to a temporary name in the same folder, which is made if it is missing, and synced to disk. Then
    the temporary file is renamed to `path`; a POSIX file system does this in one step. At last the folder is synced, so
    that the new name also survives a power cut. If the block or one of these steps fails, the temporary file is removed and
    `path` stays as it was. A symbolic link is followed. A replaced file keeps its permissions. The temporary file is locked
    while it is written, so that `sweep` knows those that a killed process has left.

    Args:
        path: the name of the file.
    Raises:
        OSError: the folder cannot be made or written, or the disk is full; it names the file, whatever the block raised then.
    """
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / TEMPORARY.replace("*", secrets.token_hex(8))
    guard, raw = -1, None
    try:
        guard = _guard(temporary)
        raw = _Writes(temporary, "wb")
        with io.BufferedWriter(raw) as file:
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
    except Exception as why:
        if raw is None or raw.failed is None:
            raise
        raise OSError(raw.failed.errno, raw.failed.strerror, str(target)) from why
    finally:
        temporary.unlink(missing_ok=True)
        if guard >= 0:
            os.close(guard)
    _sync_folder(target.parent)


def sweep(folder: str | Path) -> None:
    """Delete the temporary files of killed writers in a folder; those of living ones are locked, and stay."""
    try:
        left = found_in(Path(folder), TEMPORARY)
    except PermissionError:  # names in it cannot be read, so nothing is known
        return
    for path in left:
        with suppress(OSError):  # it is gone by now, or there are no locks here: then nothing is known, and all stay
            handle = os.open(path, os.O_RDWR)
            try:
                if try_lock(handle):
                    path.unlink()
            finally:
                os.close(handle)


def _guard(path: Path) -> int:
    """Make a file, and return a handle that holds its lock."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            if try_lock(handle) and is_at(handle, path):
                return handle
        except NoLocksError:
            return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # a sweep has found the file before it was locked, and removes it
        path.unlink(missing_ok=True)


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

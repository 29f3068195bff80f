"""A file that grows record by record, and that a killed process leaves readable: what was written before the kill is kept.

    file  = MAGIC · record(header as JSON) · record 0 · record 1 · …
    record = length of the content, number, digest of the content, digest of these three · content

The header is written with the file, in one step. A record counts if both its digests are right. The first one that does not
ends the file: a torn last record, cut by a kill, is dropped without a word; a record with other bytes than were written is
dropped too, and `damaged` says so.
"""

import os
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from hashlib import blake2b
from io import RawIOBase
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from coreselect.errors import StoreError
from coreselect.io import strict_json
from coreselect.io.atomic import atomic_file

Bytes = bytes | bytearray | memoryview  # of single bytes
MAGIC = b"coreselect rows 1\n"
SYNC_EVERY = 10.0  # seconds between two writes that wait for the disk; a kill loses nothing, a power cut at most this
_FIELDS = struct.Struct("<QQ16s")  # length, number, digest of the content
_DIGEST = 16
_HEAD = _FIELDS.size + _DIGEST
_HEADER = 2**64 - 1  # the number of the header


class RecordLog:
    """An open file of records; one process at a time may have it open.

    Args:
        path: the file, which must exist (`RecordLog.made` makes it).
        write: whether records may be added, and bad ones are cut off; else the file is only looked at, also while it grows.
    Raises:
        StoreError: the file is no file of records, its header is damaged, or it cannot be opened.
    """

    def __init__(self, path: Path, *, write: bool = True) -> None:
        self.path, self.damaged, self._write = path, False, write
        try:
            self._file: RawIOBase = open(path, "r+b" if write else "rb", buffering=0)  # noqa: SIM115  # `close` closes it
        except OSError as why:
            raise StoreError(f"{path} cannot be opened{' for writing' if write else ''} ({why.strerror}).") from why
        try:
            self.header = self._read_header()
            self._ends = [self._file.tell()]  # where record i begins, and at last where the next one goes
            self._scan()
        except BaseException:
            self._file.close()
            raise
        self._synced = time.monotonic()

    @classmethod
    def made(cls, path: Path, header: Mapping[str, Any]) -> Self:
        """Make a file with this header and no records, and open it.

        Raises:
            StoreError: the folder cannot be written, or the disk is full.
        """
        try:
            with atomic_file(path) as file:
                file.write(MAGIC)
                file.write(b"".join(_framed(_HEADER, [strict_json.canonical(header).encode()])))
        except OSError as why:
            raise StoreError(f"{path} cannot be written ({why.strerror}).") from why
        return cls(path)

    def __len__(self) -> int:
        """Return how many whole records the file holds, as far as their lengths show."""
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[bytearray]:
        """Yield the content of each record in order; the first that is damaged is dropped, with those after it."""
        at = 0
        while at < len(self):
            content = self._content(at)
            if content is None:
                self.damaged = True
                self._drop_from(at)
                return
            yield content
            at += 1

    def append(self, *pieces: Bytes) -> None:
        """Write one more record; if that fails, the file ends with the record before it.

        Args:
            pieces: its content, one after the other.
        Raises:
            StoreError: the disk is full, or the file cannot be written.
        """
        start, size = self._ends[-1], sum(len(piece) for piece in pieces)
        try:
            self._file.seek(start)
            for piece in _framed(len(self), pieces):
                _write_all(self._file, piece)
            self._ends.append(start + _HEAD + size)
            if time.monotonic() - self._synced > SYNC_EVERY:
                self.sync()
        except OSError as why:
            with suppress(OSError):
                self._drop_from(len(self))
            raise StoreError(
                f"{self.path} cannot be written ({why.strerror}) after {len(self)} records, which are kept: make space "
                f"({size:,} bytes for each record to come) and run the same again to go on from there."
            ) from why

    def sync(self) -> None:
        """Wait until everything is on the disk."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Close the file, with everything on the disk."""
        if not self._file.closed:
            with suppress(
                OSError
            ):  # the records are with the system; a disk that cannot sync is told at the next write
                self.sync()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_header(self) -> Any:
        magic = self._file.read(len(MAGIC))
        if magic != MAGIC:
            raise StoreError(
                f"{self.path} is no file of rows of this version: give another folder, or delete the file."
            )
        fields = self._frame(_HEADER)
        content = None if fields is None else self._file.read(fields[0])
        if fields is None or content is None or _digest(content) != fields[1]:
            raise StoreError(f"the header of {self.path} is damaged: delete the file, and its rows are computed again.")
        return strict_json.loads(content)

    def _scan(self) -> None:
        """Find the records by their lengths, and drop what is after the last whole one."""
        end = os.fstat(self._file.fileno()).st_size
        while self._ends[-1] < end:
            self._file.seek(self._ends[-1])
            fields = self._frame(len(self))
            if fields is None or self._ends[-1] + _HEAD + fields[0] > end:
                # a head that is whole and wrong was not cut, but changed
                self.damaged = fields is None and end - self._ends[-1] >= _HEAD
                self._drop_from(len(self))
                return
            self._ends.append(self._ends[-1] + _HEAD + fields[0])

    def _frame(self, number: int) -> tuple[int, bytes] | None:
        """Read the head of a record here: the length and the digest of its content, or None if it is cut or damaged."""
        head = self._file.read(_HEAD)
        if len(head) < _HEAD or _digest(head[: _FIELDS.size]) != head[_FIELDS.size :]:
            return None
        length, own, digest = _FIELDS.unpack(head[: _FIELDS.size])
        return (length, digest) if own == number else None

    def _content(self, at: int) -> bytearray | None:
        self._file.seek(self._ends[at])
        fields = self._frame(at)
        content = bytearray() if fields is None else _read_all(self._file, fields[0])
        return content if fields is not None and _digest(content) == fields[1] else None

    def _drop_from(self, at: int) -> None:
        if self._write:
            self._file.truncate(self._ends[at])
        del self._ends[at + 1 :]


def _framed(number: int, pieces: Sequence[Bytes]) -> list[Bytes]:
    """Put the head of a record before its content."""
    fields = _FIELDS.pack(sum(len(piece) for piece in pieces), number, _digest(*pieces))
    return [fields + _digest(fields), *pieces]


def _digest(*pieces: Bytes) -> bytes:
    out = blake2b(digest_size=_DIGEST)
    for piece in pieces:
        out.update(piece)
    return out.digest()


def _write_all(file: RawIOBase, data: Bytes) -> None:
    """Write all bytes: one call may write fewer, for instance up to the end of a full disk."""
    view = memoryview(data)
    while len(view):
        view = view[file.write(view) or 0 :]


def _read_all(file: RawIOBase, length: int) -> bytearray:
    """Read so many bytes, or up to the end: one call reads at most 2 GiB."""
    out = bytearray(length)
    view = memoryview(out)
    while len(view):
        got = file.readinto(view)
        if not got:
            break
        view = view[got:]
    return out

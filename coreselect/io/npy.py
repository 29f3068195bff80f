"""The one reader of numpy's array format: in a file, in bytes, or in an archive; sizes are checked before anything is read.

The header says how many bytes follow. It is believed if exactly so many are there, so a flipped bit of a shape or a dtype is
found, and no shape of 10¹² elements takes memory. An archive's directory says how much its members hold; it is believed up to
a multiple of the archive's own size.
"""

import io
import math
import tokenize
import warnings
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

# What numpy raises for a header that is none.
_DAMAGE = (
    ValueError, SyntaxError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError, RecursionError, EOFError,
    tokenize.TokenError,
)  # fmt: skip
FLOOR, RATIO = 2**26, 200  # bytes that any archive may hold; times its size that a larger one may. Bombs reach 1,032.
MEMBERS = 10_000


def may_hold(size: int) -> int:
    """Return how many bytes an archive of `size` bytes may unpack to."""
    return max(FLOOR, RATIO * size)


class Header:
    """The header of an array: `dtype`, `shape`, `order` ("C" or "F"), and `offset`, where its values begin.

    Args:
        file: at the first byte of the header.
        size: bytes from there to the end.
    Raises:
        ValueError: it is no header, or does not fit the size.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        fmt, begin = np.lib.format, file.tell()
        try:
            version = fmt.read_magic(file)
            read = {(1, 0): fmt.read_array_header_1_0, (2, 0): fmt.read_array_header_2_0}.get(version)
            if read is None:
                raise ValueError(f"format {version}, 1.0 or 2.0 is needed")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # numpy speaks of headers of Python 2
                self.shape, fortran, self.dtype = read(file)
        except _DAMAGE as why:
            raise ValueError(" ".join(str(why).split())[:120] or "its header is damaged") from why
        self.order: Literal["C", "F"] = "F" if fortran else "C"
        self.offset = file.tell() - begin
        if self.dtype.hasobject or self.dtype.names is not None or not self.dtype.itemsize:
            raise ValueError(f"it holds {self.dtype}, and numbers are needed; objects are never unpickled")
        if any(type(n) is not int or n < 0 for n in self.shape):
            raise ValueError(f"its shape is {self.shape}")
        self.count = math.prod(self.shape)
        needed, there = self.count * self.dtype.itemsize, size - self.offset
        if needed != there:
            raise ValueError(
                f"{self.dtype} of shape {list(self.shape)} takes {needed:,} bytes, and {there:,} are there: it is cut off, damaged "
                "or followed by something else"
            )


def array_in(data: bytes) -> NDArray[Any]:
    """Return the array that some bytes hold, read-only and without a copy.

    Raises:
        ValueError: they hold no array, or more than one.
    """
    head = Header(io.BytesIO(data), len(data))
    return np.frombuffer(data, head.dtype, head.count, head.offset).reshape(head.shape, order=head.order)


def mapped(path: Path) -> NDArray[Any]:
    """Return the array of a file as a read-only memory map.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it is no ordinary file, holds no array, or one without values.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no ordinary file")
    with open(path, "rb") as file:
        head = Header(file, path.stat().st_size)
    if not head.count:
        raise ValueError(f"it holds no values: its shape is {list(head.shape)}")
    return np.memmap(path, head.dtype, "r", head.offset, head.shape, head.order)


def check_members(archive: zipfile.ZipFile, size: int) -> None:
    """Refuse an archive of this many bytes that would unpack to far more than it is.

    Raises:
        ValueError: it would.
    """
    infos = archive.infolist()
    whole = sum(info.file_size for info in infos)
    if len(infos) > MEMBERS or whole > may_hold(size):
        raise ValueError(
            f"its directory names {len(infos):,} members with {whole:,} bytes in all: more than it can hold"
        )
    for info in infos:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{info.filename!r} is compressed in a way that numpy does not use")


def member(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """Return one array of an archive that `check_members` has passed; its header is checked before the rest is unpacked.

    Raises:
        ValueError, KeyError, zipfile.BadZipFile, zlib.error: there is no such member, or it is damaged.
    """
    info = archive.getinfo(name)
    with archive.open(name) as file:
        head = Header(file, info.file_size)  # type: ignore[arg-type]  # a stream that reads bytes
        out = np.empty(head.count, head.dtype)
        view, at, stream = out.view(np.uint8), 0, cast(io.BufferedIOBase, file)
        while at < len(view) and (got := stream.readinto(view[at : at + 2**18])):  # type: ignore[arg-type]  # it has a buffer
            at += got
        if at < len(view) or file.read(1):
            raise ValueError(f"{name} is cut off")
    return out.reshape(head.shape, order=head.order)

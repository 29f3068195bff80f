"""The reader of `.mat` files: how much their compressed parts hold is read before they are unpacked."""

import struct
import zlib
from pathlib import Path
from typing import Any

from coreselect.errors import DataError
from coreselect.io import npy

_COMPRESSED, _HEADER = 15, 128


def load_mat(path: Path, needed: str, **options: Any) -> dict[str, Any]:
    """Return the variables of a `.mat` file.

    Args:
        path: the file.
        needed: what it should be, for the message.
        options: of `scipy.io.loadmat`.
    Raises:
        DataError: the file is cut off, damaged, of another kind, or would unpack to far more than it is.
    """
    from scipy.io import loadmat  # slow to import

    try:
        _check_sizes(path)
        return loadmat(path, **options)
    except Exception as why:  # scipy raises many kinds for a damaged file
        said = " ".join(str(why).split())[:120].rstrip(".")
        raise DataError(f"{path} is cut off, damaged, or no {needed} ({said}).") from why


def _check_sizes(path: Path) -> None:
    """Add up the sizes that the compressed elements of a file of version 5 begin with.

    Raises:
        ValueError: they are more than a file of this size can hold.
    """
    size, whole = path.stat().st_size, 0
    with path.open("rb") as file:
        head = file.read(_HEADER)
        order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
        if order is None:
            return  # version 4, whose sizes scipy checks
        while len(tag := file.read(8)) == 8:
            kind, length = struct.unpack(f"{order}II", tag)
            begin = file.tell()
            if kind == _COMPRESSED:
                first = zlib.decompressobj().decompress(file.read(min(length, 4096)), 8)
                whole += struct.unpack(f"{order}II", first)[1] if len(first) == 8 else 0
            if whole > npy.may_hold(size):
                raise ValueError(f"its parts are {whole:,} bytes, more than {size:,} can hold")
            file.seek(begin + length)

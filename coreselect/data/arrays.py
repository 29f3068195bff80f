"""The reader of `.npy` files: the array stays on disk, nothing is unpickled, and a damaged file is refused."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from coreselect.errors import DataError
from coreselect.io import npy


def read_array(path: str | Path) -> NDArray[Any]:
    """Open the array in a `.npy` file as a read-only memory map: values are read from disk when they are used.

    Raises:
        DataError: the file is missing, is damaged, holds no values or pickled objects, or is an `.npz` archive.
    """
    path = Path(path)
    try:
        return npy.mapped(path)
    except FileNotFoundError as why:
        raise DataError(f"{path.parent} lacks {path.name}.") from why
    except (ValueError, OSError, MemoryError) as why:
        if path.is_file() and _begins(path, b"PK\x03\x04"):
            raise DataError(f"{path} is an .npz archive by content; one array per .npy file is needed.") from why
        reason = " ".join((getattr(why, "strerror", None) or str(why)).split())[:160].rstrip(".")
        raise DataError(f"{path} is not a readable .npy array ({reason}).") from why


def _begins(path: Path, magic: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False

"""The reader of `.npy` files: the array stays on disk, nothing is unpickled, and a damaged file is refused."""

import tokenize
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coreselect.errors import DataError

# What numpy raises for a file that is no array.
_DAMAGE = (
    ValueError, OSError, EOFError, SyntaxError, OverflowError, MemoryError, zipfile.BadZipFile, tokenize.TokenError,
)  # fmt: skip


def read_array(path: str | Path) -> NDArray[Any]:
    """Open the array in a `.npy` file as a read-only memory map: values are read from disk when they are used.

    Raises:
        DataError: the file is missing, is damaged, holds pickled objects, or is an `.npz` archive.
    """
    path = Path(path)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as why:
        raise DataError(f"{path.parent} lacks {path.name}.") from why
    except _DAMAGE as why:
        reason = " ".join(str(why).split())[:120].rstrip(".")
        raise DataError(f"{path} is not a readable .npy array ({reason}).") from why
    if not isinstance(array, np.ndarray):
        array.close()
        raise DataError(f"{path} is an .npz archive by content; one array per .npy file is needed.")
    return array

"""A safe reader of the pickles that CIFAR and downsampled ImageNet are published as.

A pickle is a program that can import and call anything. This reader accepts the names of numpy's array builders and of the
codec that strings of Python 2 need. It replaces them by the functions below, which check their arguments and make arrays
of numbers and nothing else. It refuses every other name without importing it.
"""

import io
import os
import pickle
import re
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from coreselect.data.pickle_scan import scan
from coreselect.errors import DataError

# What unpickling damaged data can raise.
_DAMAGE = (
    pickle.UnpicklingError, ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, OverflowError,
    MemoryError, RecursionError, ImportError,
)  # fmt: skip


def load(data: bytes | BinaryIO, where: str) -> Any:
    """Return the content of a pickle: lists, dicts, bytes, strings, numbers and arrays of numbers.

    Args:
        data: a pickle of any protocol, or an open file, which is not loaded as a whole; strings of Python 2 become bytes.
        where: the name of the data in a message.
    Raises:
        DataError: the pickle holds something else, or is damaged.
    """
    file = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        scan(file)
        return _with_arrays(_Plain(file, where).load(), {})
    except _DAMAGE as why:
        raise DataError(f"{where} is damaged, or not a pickle of arrays ({' '.join(str(why).split())[:120]}).") from why


class _Plain(pickle.Unpickler):
    def __init__(self, file: BinaryIO, where: str) -> None:
        super().__init__(file, encoding="bytes")
        self.where = where
        begin = file.tell()
        self.left = 4 * (file.seek(0, os.SEEK_END) - begin)  # bytes that texts may become
        file.seek(begin)

    def find_class(self, module: str, name: str) -> Any:
        """Return the replacement for a name that a pickled array needs; nothing is imported."""
        found = _REPLACEMENTS.get((module.replace("numpy._core", "numpy.core"), name))
        if found is None:
            raise DataError(
                f"{self.where} asks to run {module}.{name}, which no image file needs: reading stopped there."
            )
        return self._encode if found is _encode else found

    def _encode(self, text: str, codec: str | bytes = "latin1", *_: Any) -> bytes:
        """Encode a text; one that is encoded again and again must not grow into more than the file could hold."""
        self.left -= len(text)
        if self.left < 0:
            raise ValueError("texts that become more than the file holds")
        return _encode(text, codec)


class _DType:
    """A dtype of integers or floats while it is being unpickled; its state holds the byte order."""

    def __init__(self, code: str | bytes, *_: Any) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else str(code)
        if not re.fullmatch("[iu][1248]|f[248]", self.code):
            raise ValueError(f"dtype {self.code!r}, numbers are needed")
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("|", "<", ">", "="):
            raise ValueError(f"byte order {order!r}")
        self.order = order

    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]  # __setstate__ has checked that it is one of the four


class _Array:
    """An array while it is being unpickled; its state holds shape, dtype and bytes."""

    array: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        self.array = _build(raw, dtype, shape, "F" if fortran else "C")


class _Name:
    """The replacement for the class `numpy.ndarray`, which a pickle names but never calls."""


def _build(raw: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    if not isinstance(dtype, _DType) or not isinstance(raw, bytes | bytearray) or order not in ("C", "F"):
        raise ValueError("an array that does not hold numbers")
    return np.frombuffer(raw, dtype.dtype()).reshape(shape, order=order)


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _scalar(dtype: Any, raw: Any) -> int | float:
    return _build(raw, dtype, (), "C").item()


def _encode(text: str, codec: str | bytes = "latin1") -> bytes:
    if codec not in ("latin1", b"latin1"):
        raise ValueError(f"codec {codec!r}")
    return text.encode("latin1")


_REPLACEMENTS: dict[tuple[str, str], type | Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _build,
    ("numpy", "ndarray"): _Name,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
}


def _with_arrays(value: Any, known: dict[int, Any]) -> Any:
    """Return the value with arrays in place of their replacements; what is shared in it stays shared.

    Args:
        known: what was made of a list or a dict, by its identity: each is walked through once.
    """
    if isinstance(value, _Array):
        if value.array is None:
            raise ValueError("an array without content")
        return value.array
    if not isinstance(value, dict | list):
        return value
    if id(value) in known:
        return known[id(value)]
    if isinstance(value, dict):
        pairs = known[id(value)] = {}
        pairs.update((key, _with_arrays(item, known)) for key, item in value.items())
        return pairs
    items = known[id(value)] = []
    items.extend(_with_arrays(item, known) for item in value)
    return items

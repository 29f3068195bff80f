"""Checks of an array that a user gives: its shape, its dtype, and that its values are finite."""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from coreselect.errors import NonFiniteError, ShapeError, first_few
from coreselect.support.devices import host_array

BLOCK_BYTES = 64 << 20  # how many bytes of an array one step checks


def matrix(name: str, values: ArrayLike | None, *, half: bool = False) -> NDArray[Any] | None:
    """Return a finite floating-point matrix, or None for None.

    Half precision becomes float32. A memory-mapped float32 or float64 matrix is not copied.

    Args:
        name: the name of the array in a message.
        half: whether half precision stays as it is, also memory-mapped; who reads it widens it block by block.
    Raises:
        ShapeError: it is not a floating-point matrix.
        NonFiniteError: values are NaN or infinite; `indices` are the rows.
    """
    if values is None:
        return None
    refuse_masked(name, values)
    array = values if isinstance(values, np.ndarray) else as_array(name, values)
    if array.ndim != 2 or array.dtype.kind != "f":
        raise ShapeError(f"{name} must be a floating-point matrix, got {array.dtype} {list(array.shape)}.")
    own = np.float16 if half and array.dtype.itemsize == 2 else np.float32 if array.dtype.itemsize <= 4 else np.float64
    if array.dtype != own or any(s < 0 for s in array.strides):  # half or long precision, another byte order, reversed
        array = np.ascontiguousarray(array, dtype=own)
    step = max(1, BLOCK_BYTES // max(1, array.shape[1] * array.itemsize))
    bad = [
        at + int(i)
        for at in range(0, len(array), step)
        for i in np.flatnonzero(~np.isfinite(array[at : at + step]).all(axis=1))
    ]
    if bad:
        raise NonFiniteError(
            f"{name} of {len(bad)} examples hold NaN or infinity (rows {first_few(bad)}): remove or correct them.", bad
        )
    return array


def integers(name: str, values: ArrayLike | None) -> NDArray[np.int64] | None:
    """Return the values as a vector of int64, or None for None.

    Raises:
        ShapeError: they are not a vector of integers.
    """
    if values is None:
        return None
    array = as_array(name, values)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ShapeError(f"{name} must be a vector of integers, got {array.dtype} {list(array.shape)}.")
    return array.astype(np.int64)


def real_numbers(name: str, values: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    """Return a tensor's numbers on the CPU, without gradient.

    Args:
        dtype: a floating-point one.
    Raises:
        ShapeError: they are complex, of which a conversion keeps the real part alone.
    """
    if values.is_complex():
        raise ShapeError(f"{name} must be real numbers, got {values.dtype}: give their absolute values or real parts.")
    return values.detach().to("cpu", dtype).numpy()


def as_array(name: str, values: ArrayLike) -> NDArray[Any]:
    """Return the values as an array.

    Raises:
        ShapeError: the rows have different lengths, or values are masked.
    """
    refuse_masked(name, values)
    try:
        return host_array(values)
    except ValueError as why:
        raise ShapeError(f"{name} must be a rectangular array, got rows of different lengths.") from why


def refuse_masked(name: str, values: object) -> None:
    """Refuse a masked array, of which numpy would take the values behind the mask.

    Raises:
        ShapeError: it is one.
    """
    if isinstance(values, np.ma.MaskedArray):
        raise ShapeError(
            f"{name} is a masked array, and what the mask hides has no value: leave those rows out, or fill them."
        )

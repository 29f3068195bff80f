"""Check the arrays that a task without a model is made of: shapes that agree, numbers that are finite."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coreselect.errors import DataError, NonFiniteError, ShapeError, name_some
from coreselect.types import Int64

BLOCK_BYTES = 64 << 20  # how much of an array is looked at at once


def checked(
    features: ArrayLike | None,
    labels: ArrayLike | None,
    logits: ArrayLike | None,
    gradients: ArrayLike | None,
    groups: ArrayLike | None,
    validation_gradient: ArrayLike | None,
) -> dict[str, Any]:
    """Return the arguments of `Task.from_arrays` as arrays that agree, and `n`, the number of examples.

    Raises:
        ShapeError, DataError, NonFiniteError: as `Task.from_arrays` says.
    """
    arrays = {
        "features": matrix("features", features),
        "logits": matrix("logits", logits),
        "gradients": matrix("gradients", gradients),
    }
    members = integers("groups", groups)
    classes = integers("labels", labels)
    query = None if validation_gradient is None else _array("validation_gradient", validation_gradient)
    lengths = {k: len(v) for k, v in {**arrays, "labels": classes}.items() if v is not None}
    if members is not None:
        rows = lengths.pop("gradients", None)
        lengths["groups"] = len(members)
        if rows is None or set(np.unique(members)) != set(range(rows)):
            raise ShapeError(f"groups must number the rows of gradients, 0…M−1 each at least once; got {rows} rows.")
    if not lengths:
        raise ShapeError("a task needs at least one array: features, labels, logits or gradients.")
    if len(set(lengths.values())) > 1:
        raise ShapeError(f"arrays disagree about how many examples there are: {lengths}.")
    own = arrays["gradients"]
    if query is not None:
        if query.ndim != 1 or query.dtype.kind not in "fiu" or own is None or query.shape[0] != own.shape[1]:
            width = "no gradients" if own is None else f"[{own.shape[1]}]"
            raise ShapeError(
                f"validation_gradient must be as long as a row of gradients ({width}), got {list(query.shape)}."
            )
        if not np.isfinite(query).all():
            raise NonFiniteError("the validation gradient holds NaN or infinity.")
        query = np.ascontiguousarray(query, dtype=own.dtype)
    n = next(iter(lengths.values()))
    if n == 0:
        raise DataError("the arrays are empty: there is nothing to select from.")
    return {
        **arrays,
        "n": n,
        "labels": classes,
        "groups": members,
        "validation_gradient": query,
    }


def matrix(name: str, values: ArrayLike | None) -> NDArray[Any] | None:
    """Return a finite floating-point matrix, half precision raised to single; memory-mapped ones stay where they are."""
    if values is None:
        return None
    array = values if isinstance(values, np.ndarray) else _array(name, values)
    if array.ndim != 2 or array.dtype.kind != "f":
        raise ShapeError(f"{name} must be a floating-point matrix, got {array.dtype} {list(array.shape)}.")
    own = np.float32 if array.dtype.itemsize <= 4 else np.float64
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
            f"{name} of {len(bad)} examples hold NaN or infinity (rows {name_some(bad)}): remove or mend them.", bad
        )
    return array


def integers(name: str, values: ArrayLike | None) -> Int64 | None:
    """Return a vector of int64."""
    if values is None:
        return None
    array = _array(name, values)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ShapeError(f"{name} must be a vector of integers, got {array.dtype} {list(array.shape)}.")
    return array.astype(np.int64)


def _array(name: str, values: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as why:
        raise ShapeError(f"{name} must be a rectangular array, got rows of different lengths.") from why

"""Check the arrays of a task without a model: shapes that agree and numbers that are finite."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from coreselect.data.labels import refuse_sparse
from coreselect.errors import DataError, NonFiniteError, ShapeError, first_few
from coreselect.support.array_checks import as_array, integers, matrix


def check_arrays(
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
        "features": matrix("features", features, half=True),
        "logits": matrix("logits", logits),
        "gradients": matrix("gradients", gradients),
    }
    members = integers("groups", groups)
    classes = integers("labels", labels)
    if classes is not None and (wrong := np.flatnonzero(classes < 0)).size:
        raise ShapeError(
            f"{len(wrong)} labels are below 0 (rows {first_few(wrong.tolist())}): number the classes from 0 "
            "(numpy.unique(labels, return_inverse=True)[1]), or leave out the rows of examples without a label."
        )
    if classes is not None:
        refuse_sparse(classes, "the array of labels")
    query = None if validation_gradient is None else as_array("validation_gradient", validation_gradient)
    lengths = {k: len(v) for k, v in {**arrays, "labels": classes}.items() if v is not None}
    if members is not None:
        rows = lengths.pop("gradients", None)
        lengths["groups"] = len(members)
        if rows is None or set(np.unique(members)) != set(range(rows)):
            raise ShapeError(
                f"groups must number the rows of gradients 0…M−1, each at least once; there are {rows or 'no'} rows."
            )
    if not lengths:
        raise ShapeError("a task needs at least one array: features, labels, logits or gradients.")
    if len(set(lengths.values())) > 1:
        raise ShapeError(f"the arrays disagree about the number of examples: {lengths}.")
    own = arrays["gradients"]
    if own is not None and not own.shape[1]:
        raise ShapeError(f"gradients have no numbers in a row, shape {list(own.shape)}: at least one is needed.")
    if query is not None:
        if query.dtype.kind not in "fiu":
            raise ShapeError(f"validation_gradient must hold numbers, got {query.dtype}.")
        if query.ndim != 1 or own is None or query.shape[0] != own.shape[1]:
            width = "there are no gradients" if own is None else f"[{own.shape[1]}]"
            raise ShapeError(
                f"validation_gradient must be as long as a row of gradients ({width}), got {list(query.shape)}."
            )
        with np.errstate(over="ignore"):  # a float64 number may be none of float32
            query = np.ascontiguousarray(query, dtype=own.dtype)
        if not np.isfinite(query).all():
            raise NonFiniteError(
                f"the validation gradient holds NaN, infinity or numbers too large for {own.dtype}, in which gradients are: "
                "compute it again, or remove it."
            )
    n = next(iter(lengths.values()))
    if n == 0:
        raise DataError("the arrays are empty: there is nothing to select from.")
    return {**arrays, "n": n, "labels": classes, "groups": members, "validation_gradient": query}

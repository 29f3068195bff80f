"""Checks of the arrays of a stored selection, which a damaged or edited file may fill with anything."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def check_selection(fields: Mapping[str, Any], pool_size: Any, budget: Any) -> None:
    """Check that the arrays of a selection are those of k picks of a pool of N examples.

    Args:
        fields: the arrays by name: `indices`, `source_indices` and `groups` int [k], `gains` float [k], `weights` float [k] or
            None, `scores` float [N] or None; `labels` int [k] and `files`, k texts, may be missing.
        pool_size, budget: N and k, as the provenance says.
    Raises:
        ValueError: they are not, as when an index occurs twice, is negative, a fraction, or outside the pool.
    """
    if not isinstance(pool_size, int) or not isinstance(budget, int) or not 1 <= budget <= pool_size:
        raise ValueError(f"it says {budget!r} picks of a pool of {pool_size!r}")
    for name in ("indices", "source_indices"):
        array = vector(name, fields[name], "iu", budget)
        if array.min() < 0:
            raise ValueError(f"{name} holds {array.min()}, which is not a position")
        if len(np.unique(array)) != budget:
            raise ValueError(f"a position occurs twice in {name}")
    if fields["indices"].max() >= pool_size:
        raise ValueError(f"indices holds {fields['indices'].max()}, and the pool has {pool_size} examples")
    vector("groups", fields["groups"], "iu", budget)
    vector("gains", fields["gains"], "f", budget)
    if fields["weights"] is not None:
        weights = vector("weights", fields["weights"], "f", budget)
        if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.max() > 0):
            raise ValueError("weights are not finite, negative, or all 0")
    if fields["scores"] is not None:
        vector("scores", fields["scores"], "f", pool_size)
    if fields.get("labels") is not None:
        vector("labels", fields["labels"], "iu", budget)
    files = fields.get("files")
    if files is not None and (len(files) != budget or not all(isinstance(file, str) for file in files)):
        raise ValueError(f"files are not {budget} paths")


def vector(name: str, array: Any, kinds: str, length: int) -> NDArray[Any]:
    """Return the array if it is a vector of these kinds of dtype and of this length.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds or array.shape != (length,):
        got = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
        need = "integers" if "i" in kinds else "floats"
        raise ValueError(f"{name} is {got}, and {length} {need} are needed")
    return array

"""Checks of the parts of a stored selection, which a damaged or edited file may fill with anything."""

import math
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin

import numpy as np
from numpy.typing import NDArray

from coreselect.support.type_checks import accepts, annotations_of

Kind = TypeVar("Kind")


def record(kind: type[Kind], fields: Any) -> Kind:
    """Make a record from its fields, of the types that its class says; lists may replace tuples.

    Args:
        kind: a dataclass, such as that of certificates.
    Raises:
        TypeError: a field is missing or unknown, or it, an item or a key of it is of another type.
    """
    name = kind.__name__.lower()
    if not isinstance(fields, Mapping):
        raise TypeError(f"{name} is {type(fields).__name__}, and named fields are needed")
    hints = annotations_of(kind)
    for field, value in fields.items():
        if field in hints and not _fits(hints[field], value):
            raise TypeError(f"{field} of the {name} is {value!r:.60}, which is of another type")
    return kind(**{f: tuple(v) if get_origin(hints.get(f)) is tuple else v for f, v in fields.items()})


def _fits(hint: Any, value: Any) -> bool:
    """Return whether a value and its items fit an annotation."""
    whole, parts = get_origin(hint), get_args(hint)
    if whole is tuple:
        return isinstance(value, list | tuple) and all(accepts(parts[0], item) for item in value)
    if whole is Mapping:
        return isinstance(value, Mapping) and all(
            isinstance(key, str) and accepts(parts[1], item) for key, item in value.items()
        )
    return accepts(hint, value)


def check_selection(fields: Mapping[str, Any], made: Any) -> None:
    """Check that the arrays of a selection are those of k picks of a pool of N examples.

    Args:
        fields: the arrays by name: `indices`, `source_indices` and `groups` int [k], `gains` float [k], `weights` float [k] or
            None, `scores` float [N] or None; `labels` int [k] and `files`, k texts, may be missing; `nested`, true or false.
        made: the provenance, which says N and k.
    Raises:
        ValueError: they are not, as when an index occurs twice, is negative, a fraction, or outside the pool.
    """
    pool_size, budget = made.pool_size, made.budget
    if not isinstance(pool_size, int) or not isinstance(budget, int) or not 1 <= budget <= pool_size:
        raise ValueError(f"it says {budget!r} picks of a pool of {pool_size!r}")
    if made.round < 0:
        raise ValueError(f"its round is {made.round}")
    if not all(0 <= seconds < math.inf for seconds in made.seconds.values()):
        raise ValueError("its seconds are no times")
    for name in ("options", "inputs", "model", "validation", "conditions"):
        if not isinstance(made.command.get(name, {}), Mapping):
            raise ValueError(f"{name} of the command are {made.command[name]!r:.60}, and named values are needed")
    held = made.validation_indices
    if held is not None:
        vector("validation_indices", held, "iu", len(held) if held.ndim else 0)
    if not isinstance(fields["nested"], bool | np.bool_):
        raise ValueError(f"nested is {fields['nested']!r:.60}, and true or false is needed")
    for name in ("indices", "source_indices"):
        array = vector(name, fields[name], "iu", budget)
        if array.min() < 0:
            raise ValueError(f"{name} holds {array.min()}, which is not a position")
        if len(np.unique(array)) != budget:
            raise ValueError(f"a position occurs twice in {name}")
    if fields["indices"].max() >= pool_size:
        raise ValueError(f"indices holds {fields['indices'].max()}, and the pool has {pool_size} examples")
    if vector("groups", fields["groups"], "iu", budget).min() < 0:
        raise ValueError("a group has a negative number")
    if np.isnan(vector("gains", fields["gains"], "f", budget)).any():
        raise ValueError("gains are no numbers")
    if fields["weights"] is not None:
        weights = vector("weights", fields["weights"], "f", budget)
        if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.max() > 0):
            raise ValueError("weights are not finite, negative, or all 0")
    if fields["scores"] is not None:
        vector("scores", fields["scores"], "f", pool_size)
    if fields.get("labels") is not None:
        vector("labels", fields["labels"], "iu", budget)
    files = fields.get("files")
    listed = isinstance(files, list | tuple) and len(files) == budget and all(isinstance(file, str) for file in files)
    if files is not None and not listed:
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

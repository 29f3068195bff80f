"""Strict JSON: plain values are written and read back unchanged, infinities and NaN included.

JSON cannot write a number that is not finite, so this module writes `{"$float": "nan"}`, `{"$float": "inf"}` and
`{"$float": "-inf"}`. To avoid confusion, a key of the caller that begins with `$` gets one more `$`. Finite floats are
written as their shortest exact decimal, so a float64 keeps all its bits.
"""

import json
import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import PurePath
from typing import Any, NoReturn

import numpy as np

_NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def dumps(value: Any) -> str:
    """Write `value` as one line of strict JSON, with keys in their order.

    Args:
        value: None, booleans, numbers, strings, and lists, tuples and mappings with string keys of these. Numpy scalars and
            arrays count as numbers and lists, paths and fractions as strings. Tuples are read back as lists.
    Raises:
        TypeError: there is another type; the message says where.
    """
    return json.dumps(_plain(value, "meta"), allow_nan=False, separators=(",", ":"))


def canonical(value: Any) -> str:
    """Write `value` with sorted keys, so that equal values give equal text."""
    return json.dumps(_plain(value, "meta"), allow_nan=False, separators=(",", ":"), sort_keys=True)


def loads(text: str | bytes) -> Any:
    """Read what `dumps` wrote.

    Raises:
        ValueError: the text is not strict JSON (`NaN` and `Infinity` are not), or has a `$` key that `dumps` does not write.
        RecursionError: the values are nested too deeply.
    """
    return json.loads(text, parse_constant=_no_constant, object_hook=_object)


def _plain(value: Any, where: str) -> Any:
    """Return the value in types that the standard encoder writes as strict JSON."""
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist(), where)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"$float": str(float(value))}
    if isinstance(value, PurePath | Fraction):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}, JSON keys are strings")
        return {f"${k}" if k.startswith("$") else k: _plain(v, f"{where}.{k}") for k, v in value.items()}
    raise TypeError(f"{where} is a {type(value).__name__}, which JSON cannot hold")


def _object(pairs: dict[str, Any]) -> Any:
    """Undo `_plain` for one object; the decoder has already converted the values inside it."""
    if "$float" in pairs:
        if len(pairs) != 1 or pairs["$float"] not in _NOT_FINITE:
            raise ValueError(f"{pairs!r} is not a number")
        return _NOT_FINITE[pairs["$float"]]
    for key in pairs:
        if key.startswith("$") and not key.startswith("$$"):
            raise ValueError(f"unknown key {key!r}")
    return {k[1:] if k.startswith("$") else k: v for k, v in pairs.items()}


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not strict JSON")

"""Whether a value is of the kind that an annotation names: `int`, `float | None`, `Literal["once"] | int`, a class.

Whole numbers serve as floats, and truth values as no number. What an annotation says beyond that (of items, of
arguments) is let through.
"""

from __future__ import annotations

from dataclasses import is_dataclass
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def annotations_of(made: object) -> dict[str, Any]:
    """Return the annotation of every field of a dataclass; nothing of what is none, or names what only type checkers see."""
    try:
        return get_type_hints(made) if is_dataclass(made) else {}
    except NameError:
        return {}


def accepts(hint: Any, value: object) -> bool:
    """Say whether the value may stand where the annotation does."""
    if get_origin(hint) in (Union, UnionType):
        return any(accepts(part, value) for part in get_args(hint))
    if get_origin(hint) is Literal:
        return any(type(value) is type(word) and value == word for word in get_args(hint))
    if hint is Any:
        return True
    if hint in (int, float):
        return isinstance(value, Integral if hint is int else Real) and not isinstance(value, bool)
    if hint in (None, NoneType):
        return value is None
    plain = hint if get_origin(hint) is None else get_origin(hint)
    try:
        return not isinstance(plain, type) or isinstance(value, plain)
    except TypeError:  # a protocol that is not for run time
        return True

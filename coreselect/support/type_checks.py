"""Checks of a value against a type annotation, such as `int`, `float | None`, `Literal["once"] | int` or a class.

An integer is accepted as a float; a boolean is not accepted as a number. Types of items and of arguments are not checked.
"""

from __future__ import annotations

import operator
from dataclasses import is_dataclass
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from coreselect.errors import RequirementError, ShapeError

LARGEST_SEED = (1 << 63) - 1  # that `torch.Generator.manual_seed` takes on every platform


def annotations_of(made: object) -> dict[str, Any]:
    """Return the annotation of each field of a dataclass.

    The result is empty for other objects, and for annotations that only exist for type checkers.
    """
    try:
        return get_type_hints(made) if is_dataclass(made) else {}
    except NameError:
        return {}


def accepts(hint: Any, value: object) -> bool:
    """Return whether the value fits the annotation."""
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
    except TypeError:  # a protocol that cannot be checked at run time
        return True


def whole(name: str, value: Any, error: type[Exception], *, least: int = 0, most: int | None = None) -> int:
    """Return a whole number as an int: an int, or an integer of numpy or torch.

    Args:
        name: of the number in the message.
        error: what is raised.
        least, most: the range, both ends included.
    """
    refused = isinstance(value, bool) or not hasattr(value, "__index__")
    try:
        number = None if refused else operator.index(value)
    except TypeError:  # an array or a tensor of several numbers, or of fractions
        number = None
    if number is None or number < least or (most is not None and number > most):
        need = f"{least} or more" if most is None else f"in {least}…{most}"
        raise error(f"{name} must be a whole number, {need}, got {value!r}.")
    return number


def share_of_one(name: str, value: Any, error: type[Exception], *, whole: bool) -> float:
    """Return a number above 0 and below 1, or at most 1, as a float.

    Args:
        name: of the number in the message.
        error: what is raised.
        whole: whether it may be 1.
    """
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else 0.0
    if not 0 < number <= 1 or (number == 1 and not whole):
        raise error(f"{name} is a share above 0 and {'at most' if whole else 'below'} 1, got {value!r}.")
    return number


def refuse_uncallable(**given: Any) -> None:
    """Refuse values that would be called later and cannot be; None stands for the usual one.

    Raises:
        RequirementError: one is neither callable nor None.
    """
    for name, value in given.items():
        if value is not None and not callable(value):
            raise RequirementError(
                f"{name}={value!r:.60} cannot be called: give a function or an object, or leave it out."
            )


def refuse_no_tensors(**given: Any) -> None:
    """Refuse values of a batch that are no tensors: a list or an array has neither their shape nor their device.

    Raises:
        ShapeError: one is none.
    """
    for name, value in given.items():
        if not hasattr(value, "detach"):  # no import of torch here
            raise ShapeError(
                f"{name} must be a tensor, as it comes with the batch, got {type(value).__name__}: give torch.as_tensor({name})."
            )

"""The lookup of a part of the library by its name, such as a loss or a divergence."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from coreselect.errors import UnknownNameError

Made = TypeVar("Made")


def make_named(kind: str, name: str, known: Mapping[str, Callable[[], Made]], *, otherwise: str = "") -> Made:
    """Make the object with this name, with its default settings.

    Args:
        kind: what the names stand for, in a message: "loss".
        known: name → class or function without required arguments.
        otherwise: what the caller can give in place of a name, in a message: "an object of your own".
    Raises:
        UnknownNameError: no such name; the message lists the names.
    """
    if name not in known:
        hint = f", or give {otherwise}" if otherwise else ""
        raise UnknownNameError(f"no {kind} is called {name!r}; there are {', '.join(known)}{hint}.")
    return known[name]()

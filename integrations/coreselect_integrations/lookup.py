"""Find an entry of a table by its name, or refuse a name that the table lacks."""

from collections.abc import Mapping
from typing import TypeVar

from coreselect.errors import UnknownNameError

T = TypeVar("T")


def look_up(table: Mapping[str, T], name: str, kind: str) -> T:
    """Return the entry `name`; `kind` says in the message what the table holds, such as "architecture".

    Raises:
        UnknownNameError: the table has no such name; the message lists those it has.
    """
    if name not in table:
        why = f"no {kind} is called {name!r}; there are {', '.join(table)}."
        raise UnknownNameError(why)
    return table[name]

"""Selectors by name: the classes of the catalogue, and those that other packages register."""

from importlib.metadata import entry_points
from inspect import formatannotation
from reprlib import repr as short
from typing import Any

from coreselect.errors import RequirementError, UnknownNameError
from coreselect.protocols import Selector
from coreselect.selectors.catalogue import CATALOGUE, GROUP, list_selectors
from coreselect.support.type_checks import accepts, annotations_of

SELECTORS: dict[str, type[Any]] = {entry.name: entry.load() for entry in CATALOGUE}
COMBINATORS: tuple[type[Any], ...] = tuple(SELECTORS[entry.name] for entry in CATALOGUE if entry.combines)


def get_selector(name: str, /, **settings: Any) -> Selector:
    """Make the selector of that name.

    Args:
        name: one of `list_selectors()`.
        settings: the arguments of its constructor.
    Raises:
        UnknownNameError: no selector has that name.
        RequirementError: it has no such setting, or the setting has another type.
    """
    factory: Any = SELECTORS.get(name)
    if factory is None:
        found = [e for e in entry_points(group=GROUP) if e.name == name]
        if not found:
            raise UnknownNameError(f"no selector is called {name!r}; there are {', '.join(list_selectors())}.")
        factory = found[0].load()
    hints = annotations_of(factory)
    for key, value in settings.items():
        if key in hints and not accepts(hints[key], value):
            why = f"the selector {name!r} takes {key} as {formatannotation(hints[key])}, got {short(value)}."
            raise RequirementError(why)
    try:
        return factory(**settings)
    except TypeError as why:
        raise RequirementError(f"the selector {name!r} cannot be made with {sorted(settings)}: {why}.") from why

"""Selectors by name: the classes of the catalogue, and those that other packages register."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from inspect import Parameter, formatannotation, signature
from reprlib import repr as short
from typing import Any

from coreselect.errors import RequirementError, UnknownNameError
from coreselect.protocols import Selector
from coreselect.selectors.catalogue import CATALOGUE, GROUP, list_selectors
from coreselect.support.type_checks import accepts, annotations_of

SELECTORS: dict[str, type[Any]] = {entry.name: entry.load() for entry in CATALOGUE}
COMBINATORS: tuple[type[Any], ...] = tuple(SELECTORS[entry.name] for entry in CATALOGUE if entry.combines)

NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
_EXAMPLES = {"selector": 'get_selector("rs2")', "selectors": '[get_selector("rcs"), get_selector("redraw")]'}


def get_selector(name: str, /, **settings: Any) -> Selector:
    """Make the selector of that name.

    Args:
        name: one of `list_selectors()`.
        settings: the arguments of its constructor.
    Raises:
        UnknownNameError: no selector has that name.
        RequirementError: it has no such setting, or the setting has another type, or it needs one that is not given.
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
    _refuse_incomplete(name, factory, settings)
    try:
        return factory(**settings)
    except TypeError as why:
        _refuse_unknown(name, factory, settings)
        raise RequirementError(f"the selector {name!r} cannot be made with {sorted(settings)}: {why}.") from why


def _refuse_unknown(name: str, factory: Any, settings: Mapping[str, Any]) -> None:
    """Refuse settings that the constructor does not have.

    Raises:
        RequirementError: there is one.
    """
    parameters = _parameters(factory)
    if parameters is None or any(p.kind is Parameter.VAR_KEYWORD for p in parameters):  # it takes any name
        return
    known = [p.name for p in parameters if p.kind in NAMED]
    for key in settings:
        if key not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise RequirementError(f"the selector {name!r} has no setting {key!r}; {has}.")


def _refuse_incomplete(name: str, factory: Any, settings: Mapping[str, Any]) -> None:
    """Refuse settings that leave out what the constructor needs, such as the selector that a combinator works with.

    Raises:
        RequirementError: they do.
    """
    parameters = _parameters(factory) or ()
    needed = [p.name for p in parameters if p.kind in NAMED and p.default is Parameter.empty and p.name not in settings]
    if needed:
        example = ", ".join(f"{key}={_EXAMPLES.get(key, '…')}" for key in needed)
        raise RequirementError(
            f"the selector {name!r} needs {' and '.join(needed)}: get_selector({name!r}, {example})."
        )


def _parameters(factory: Any) -> list[Parameter] | None:
    """Return the parameters of a constructor; None for some callables of other packages, which do not say."""
    try:
        return list(signature(factory).parameters.values())
    except (TypeError, ValueError):
        return None

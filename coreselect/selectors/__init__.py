"""Methods of choosing, one published method a file; third parties register under the entry-point group `coreselect.selectors`."""

from importlib.metadata import entry_points
from typing import Any

from coreselect.errors import RequirementError, UnknownNameError
from coreselect.protocols import Selector
from coreselect.selectors.mixture import Mixture
from coreselect.selectors.per_class import PerClass
from coreselect.selectors.rcs import RCS
from coreselect.selectors.rcs_sampled import RCSSampled
from coreselect.selectors.uniform import RS2, Random, Redraw
from coreselect.selectors.windowed import Windowed

SELECTORS: dict[str, type[Any]] = {
    s.name: s for s in (RCS, RCSSampled, Random, Redraw, RS2, PerClass, Windowed, Mixture)
}
COMBINATORS = (PerClass, Windowed, Mixture)

__all__ = [
    "COMBINATORS",
    "RCS",
    "RS2",
    "SELECTORS",
    "Mixture",
    "PerClass",
    "RCSSampled",
    "Random",
    "Redraw",
    "Windowed",
    "get_selector",
    "list_selectors",
]


def list_selectors() -> list[str]:
    """Return the names that `get_selector` knows: built in, then registered by other packages."""
    others = sorted({e.name for e in entry_points(group="coreselect.selectors")} - set(SELECTORS))
    return [*SELECTORS, *others]


def get_selector(name: str, **settings: Any) -> Selector:
    """Make the selector of that name.

    Args:
        name: one of `list_selectors()`.
        settings: of its constructor.
    Raises:
        UnknownNameError: no selector has that name.
        RequirementError: it has no such setting.
    """
    factory: Any = SELECTORS.get(name)
    if factory is None:
        found = [e for e in entry_points(group="coreselect.selectors") if e.name == name]
        if not found:
            raise UnknownNameError(f"no selector is called {name!r}; there are {', '.join(list_selectors())}.")
        factory = found[0].load()
    try:
        return factory(**settings)
    except TypeError as why:
        raise RequirementError(f"the selector {name!r} cannot be made with {sorted(settings)}: {why}.") from why

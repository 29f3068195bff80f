"""The needs of a selector that does not say them itself, from what every selector says: `requires`, `attacks`, `objective`."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from coreselect.objectives.following import parts
from coreselect.planning.needs import (
    NaturalPass,
    Need,
    OnValidation,
    OwnPasses,
    SaysItsCosts,
    SaysItsWork,
    Sizes,
    Sweep,
)


def needs_of(selector: Any, sizes: Sizes) -> tuple[Need, ...]:
    """Return what a selection needs, as the selector says it, or else as `derived` reads it from its requirements."""
    told = tuple(selector.costs(sizes)) if isinstance(selector, SaysItsCosts) else derived(selector, sizes)
    return (*told, selector.work(sizes)) if isinstance(selector, SaysItsWork) else told


def derived(selector: Any, sizes: Sizes) -> tuple[Need, ...]:
    """Derive needs from `requires`, `attacks` and `objective`.

    Features and logits are one natural pass. Gradients, and logits of attacked inputs, are a sweep: of the task's own loss where
    the selector attacks the pool, else of a natural loss. Validation is opened once, and attacked by the objective if there is one.
    A selector that reads inputs itself, and says no more, makes a number of passes that is not known.
    """
    requires = selector.requires
    attacks = frozenset[str]().union(*(getattr(part, "attacks", ()) for part in parts(selector)))
    swept = "gradients" in requires or "pool" in attacks
    out: list[Need] = []
    if "validation" in requires:
        out.append(OnValidation(getattr(selector, "objective", None)))
    if "features" in requires or ("logits" in requires and not swept):
        out.append(NaturalPass(sizes.n))
    if swept:
        out.append(
            Sweep(sizes.n, "own" if "pool" in attacks else "natural", rows=sizes.n if "gradients" in requires else 0)
        )
    elif "inputs" in requires:
        out.append(OwnPasses(sizes.n, None))
    return tuple(out)


def of_parts(parts: Iterable[tuple[Any, Sizes]]) -> tuple[Need, ...]:
    """Return the needs of selectors that run in parts of one pool, one after the other: (selector, sizes of its part).

    The parts share what was opened on validation; everything else is of their own examples.
    """
    out: list[Need] = []
    opened: set[Any] = set()
    for selector, sizes in parts:
        for need in needs_of(selector, sizes):
            if isinstance(need, OnValidation):
                if need.objective in opened:
                    need = replace(need, opened=need.opened - 1, crafted=need.crafted - 1)
                opened.add(need.objective)
            out.append(need)
    return tuple(out)

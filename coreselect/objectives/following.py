"""The attack of an objective that has none of its own: it follows the attack of the task.

steps of 1.25·r/3, three of them (Xu et al. 2023: r = 8/255, three steps of 10/765), in the ball of the task's attack
"""

from collections.abc import Iterator
from copy import copy
from typing import Any

from coreselect.attacks import PGD, short_step
from coreselect.errors import RequirementError
from coreselect.network.precision import HalfPrecision
from coreselect.objectives.objective import Objective
from coreselect.protocols import Attack

PUBLISHED = PGD(8 / 255, 10 / 765, 3)


def following(objective: Objective, attack: Attack | None, *, inside: bool = False) -> Objective:
    """Return the objective with its own attack, or else with one that follows the attack of the task.

    That is the task's PGD with 3 steps of 1.25·radius/3, the published proportion, from a random start: the same ball, norm
    and bounds, and the same class. It runs in full precision, also where the task's attack runs in half precision. An attack
    that is no PGD is used as it is. Without an attack of the task the published one is used, 8/255 in [0, 1].

    Args:
        inside: whether attacks act inside the model; PGD then has no bounds, and the published attack is not used.
    Raises:
        RequirementError: the published attack is for images, and attacks act inside the model.
    """
    if objective.attack is not None:
        own = unbounded(objective.attack) if inside else objective.attack
        return objective if own is objective.attack else changed(objective, attack=own)
    if inside and attack is None:
        raise RequirementError(
            f"the objective {objective.name!r} attacks the output of a submodule (attack_at), and no attack has its units: give "
            "Task.from_model(attack=PGD(radius, step, steps))."
        )
    return changed(objective, attack=_short(attack))


def unbounded(attack: Attack) -> Attack:
    """Return the attack without bounds, if it is PGD, in half precision or not; else as it is."""
    if isinstance(attack, HalfPrecision):
        inner = unbounded(attack.attack)
        return attack if inner is attack.attack else HalfPrecision(inner)
    return changed(attack, bounds=None) if isinstance(attack, PGD) and attack.bounds is not None else attack


def _short(attack: Attack | None) -> Attack:
    while isinstance(attack, HalfPrecision):
        attack = attack.attack
    if attack is None:
        return PUBLISHED
    if not isinstance(attack, PGD):
        return attack
    return changed(attack, step=short_step(attack.radius, 3), steps=3, random_start=True)


def changed(frozen: Any, **values: Any) -> Any:
    """Return a copy with other values, also of a subclass whose constructor has other arguments."""
    out = copy(frozen)
    for name, value in values.items():
        object.__setattr__(out, name, value)
    return out


def parts(selector: Any) -> Iterator[Any]:
    """Yield a selector and the selectors and scores inside it."""
    yield selector
    for inner in (*_inner(selector, "selector"), *_inner(selector, "score"), *getattr(selector, "selectors", ())):
        yield from parts(inner)


def as_used(selector: Any, attack: Attack | None, *, inside: bool = False) -> Any:
    """Return a selector, for a record, with the attacks that its objectives use where the task has this attack.

    Args:
        inside: as for `following`.
    """
    changes: dict[str, Any] = {}
    if isinstance(getattr(selector, "objective", None), Objective):
        changes["objective"] = following(selector.objective, attack, inside=inside)
    if _inner(selector, "selector"):
        changes["selector"] = as_used(selector.selector, attack, inside=inside)
    if getattr(selector, "selectors", ()):
        changes["selectors"] = tuple(as_used(one, attack, inside=inside) for one in selector.selectors)
    return changed(selector, **changes) if changes else selector


def _inner(selector: Any, name: str) -> tuple[Any, ...]:
    inner = getattr(selector, name, None)
    return () if inner is None or not hasattr(inner, "requires") else (inner,)

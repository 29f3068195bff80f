"""Methods of choosing in words, for command lines and tables:

    method = part + part …        several share the budget equally, in order (`Mixture`)
    part   = name : key=value …   key is a setting of the selector, or one of `RUN` of the run that it serves

`rcs`, `rcs:objective=adversarial_ce:eta=0.05`, `rcs:capture=all:sketch=512`, `importance:score=loss`, `rcs+redraw`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from coreselect import Selector, get_selector
from coreselect.errors import RequirementError, UnknownNameError
from coreselect.gradients.sketch import Sketch
from coreselect.objectives import RD, AdversarialCE, CEPlusRD, Objective
from coreselect.protocols import Attack
from coreselect.selectors import COMBINATORS, Mixture
from coreselect_integrations.pretraining.settings import SYSTEMS, Settings

MOST = 10_000  # steps of an attack
RUN = ("capture", "select_attack_steps", "rd_steps")
OBJECTIVES: Mapping[str, Callable[[Attack], Objective]] = MappingProxyType(
    {
        "rd": lambda attack: RD("kl", attack=attack),
        "js": lambda attack: RD("js", attack=attack),
        "ot": lambda attack: RD("ot", attack=attack),
        "adversarial_ce": lambda attack: AdversarialCE(attack=attack),
        "ce_plus_rd": lambda attack: CEPlusRD(attack=attack),
    }
)
JUDGING = ("rcs", "rcs_sampled")  # they read an objective of held-out images


def selector_for(words: str, settings: Settings) -> Selector:
    """Make the method that is written, for a run: what it does not say of RCS comes from the settings.

    Args:
        words: as above.
        settings: of the run; objectives are attacked within its radius.
    Raises:
        UnknownNameError: no selector, or no objective, has that name.
        RequirementError: it has no such setting, does not read one of the run's, combines others by itself, or
            reads classes that the run's network does not have.
    """
    run = settings_for(words, settings)
    made = [_made(name, own, run) for name, own in _parts(words)]
    if not SYSTEMS[settings.system].supervised and any("logits" in one.requires for one in made):
        why = f"{words!r} reads classes from the network's outputs, and networks of {settings.system} have none."
        raise RequirementError(why)
    return made[0] if len(made) == 1 else Mixture(made)


def settings_for(words: str, settings: Settings) -> Settings:
    """Return the settings of the run that a method serves: those of `RUN` that it names are its own.

    Raises:
        RequirementError: its parts name two values of one, or steps that are no count.
    """
    own: dict[str, Any] = {}
    for _, given in _parts(words):
        for key in RUN:
            if key in given and own.setdefault(key, given[key]) != given[key]:
                why = f"{words!r} has {key} {own[key]!r} and {given[key]!r}: its parts share one sweep, so give both the same."
                raise RequirementError(why)
    for key in ("select_attack_steps", "rd_steps"):
        steps = own.get(key, 1)
        if not ((type(steps) is int and 0 <= steps <= MOST) or (steps is None and key == "select_attack_steps")):
            raise RequirementError(f"{words!r} has {key} {steps!r}: a number of steps is needed.")
    return replace(settings, **own)


def names_of(selector: Selector) -> tuple[str, ...]:
    """Name a method, or the parts of a mixture."""
    return tuple(s.name for s in selector.selectors) if isinstance(selector, Mixture) else (selector.name,)


def _parts(words: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each part and what it sets."""
    for part in re.split(r"\+(?!\d)", words):  # no name begins with a digit, but 1e+5 is a value
        name, *given = (word.strip() for word in part.split(":"))
        sides = [[side.strip() for side in word.partition("=")] for word in given]
        pairs = [(key.replace("-", "_"), value) for key, _, value in sides]
        wrong = [word for word, pair in zip(given, pairs, strict=True) if not all(pair)]
        if wrong:
            why = f"{words!r} holds {wrong[0]!r}: after a name stand key=value with colons, such as rcs:eta=0.05."
            raise RequirementError(why)
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            raise RequirementError(f"{words!r} sets {max(keys, key=keys.count)} twice: leave one out.")
        yield name, {key: _value(value) for key, value in pairs}


def _value(text: str) -> Any:
    """Read a number, true, false or null, else a word."""
    for read in (json.loads, float):  # .05 is no JSON
        with suppress(ValueError, RecursionError):
            return read(text)
    return text


def _made(name: str, given: Mapping[str, Any], settings: Settings) -> Selector:
    """Make one part."""
    if name in {c.name for c in COMBINATORS}:
        why = f"{name!r} combines other selectors: write a mixture as rcs+redraw, and use the others from Python."
        raise RequirementError(why)
    own = {key: value for key, value in given.items() if key not in RUN}
    if name in JUDGING:
        which = str(own.pop("objective", "rd"))
        if which not in OBJECTIVES:
            why = f"no objective is called {which!r}; there are {', '.join(OBJECTIVES)}."
            raise UnknownNameError(why)
        own["objective"] = OBJECTIVES[which](settings.rd.attack)
    if type(own.get("sketch")) is int:
        own["sketch"] = Sketch(own["sketch"])
    made = get_selector(name, **({"eta": settings.eta} if name == "rcs" else {}) | own)
    reads = {
        "capture": "gradients" in made.requires,
        "select_attack_steps": settings.attack is not None and bool(made.requires & {"gradients", "inputs"}),
        "rd_steps": name in JUDGING,
    }
    lost = [key for key in RUN if key in given and not reads[key]]
    if lost:
        raise RequirementError(
            f"{', '.join(lost)} would be without effect for {name!r} under {settings.system}: leave it out."
        )
    return made

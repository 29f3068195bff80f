"""Selection methods in words (`coreselect.selectors.words`), for runs of training:

    method = part + part … [@ effort]
    part   = name : key=value …         key is a setting of the selector, or one of `RUN_SETTINGS` of the run

`rcs:capture=all:sketch=512`, `importance:score=loss`, `rcs:rows=recorded`, `rs2:filter=0.6:side=true` (among the share of each
class that has the lowest loss of a side model, which is trained without attacks), `rs2@1x1.5` and `rcs@5` (the effort of the
training attack: its steps, and its radius in judged radii, see `training.effort`).

Two controls train on the validation set: `validation_only`, and `rs2+validation`, half of whose picks are drawn from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from coreselect import Selector
from coreselect.errors import RequirementError
from coreselect.selectors import Filtered, Mixture, PerClass, Windowed
from coreselect.selectors.words import OBJECTIVE_METHODS, flag, made_from, parts_in, share_kept
from coreselect_integrations.pretraining.efforts import with_effort
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.side_filter import SideFiltered
from coreselect_integrations.pretraining.systems import SYSTEMS
from coreselect_integrations.pretraining.trusted_draws import ONLY, WITH, TrustedDraws
from coreselect_integrations.training.effort import Effort

MAX_STEPS = 10_000  # of an attack
RUN_SETTINGS = ("capture", "select_attack_steps", "rd_steps")


def selector_for(words: str, settings: Settings) -> Selector:
    """Make the selector that `words` describe, for a run; the run's settings give RCS the values that `words` leave out.

    Args:
        words: in the form above.
        settings: of the run; objectives are attacked within its radius.
    Raises:
        UnknownNameError: no selector or objective has this name.
        RequirementError: the selector has no such setting, or ignores a setting of the run that `words` give; or it combines
            other selectors; or it reads classes, and the network of the run has none.
    """
    run, (without, _) = settings_for(words, settings), split_effort(words)
    parts = parts_in(without)
    named = [(name, own) for name, own in parts if name not in (ONLY, WITH)]
    drawn = [part for part in parts if part[0] in (ONLY, WITH)]
    if drawn and drawn != [(WITH if named else ONLY, {})]:
        raise RequirementError(f"the validation set is trained on as {ONLY} or as rs2+{WITH}, got {words!r}.")
    made = [_made(name, own, run) for name, own in named]
    if not SYSTEMS[settings.system].supervised and any({"logits", "history"} & one.requires for one in made):
        why = f"{words!r} reads classes from the network's outputs, but networks of {settings.system} have none."
        raise RequirementError(why)
    if not SYSTEMS[settings.system].supervised and drawn:
        raise RequirementError(
            f"{words!r} trains on labels, which {settings.system} does not read: compare it in supervised systems."
        )
    whole = None if not made else made[0] if len(made) == 1 else Mixture(made)
    return TrustedDraws(whole, 1.0 if whole is None else 1 / (1 + len(made))) if drawn or whole is None else whole


def settings_for(words: str, settings: Settings) -> Settings:
    """Return the settings of a method's run: the values of `RUN_SETTINGS` and the effort that its words give replace the others.

    Raises:
        RequirementError: its parts give two values for one setting, a number of steps is not a count, or its effort cannot be
            read, or is for a system without an attack.
    """
    own: dict[str, Any] = {}
    parts, effort = split_effort(words)
    if effort is not None and settings.attack is None:
        raise RequirementError(f"{words!r} has the effort of an attack, and {settings.system} has none: leave it out.")
    for _, given in parts_in(parts):
        for key in RUN_SETTINGS:
            if key in given and own.setdefault(key, given[key]) != given[key]:
                why = f"{words!r} has {key} {own[key]!r} and {given[key]!r}: its parts share one sweep and need the same value."
                raise RequirementError(why)
    for key in ("select_attack_steps", "rd_steps"):
        steps = own.get(key, 1)
        if not ((type(steps) is int and 0 <= steps <= MAX_STEPS) or (steps is None and key == "select_attack_steps")):
            raise RequirementError(f"{words!r} has {key} {steps!r}: a number of steps is needed.")
    return replace(settings if effort is None else with_effort(settings, effort), **own)


def split_effort(words: str) -> tuple[str, Effort | None]:
    """Return the words of a method without its effort, and that effort: `rs2@1x1.5` is rs2, with one step at 1.5 radii.

    Raises:
        RequirementError: the effort cannot be read.
    """
    parts, at, effort = words.rpartition("@")
    return (parts.strip(), Effort.parse(effort)) if at else (words, None)


def names_of(selector: Selector) -> tuple[str, ...]:
    """Return the name of a method, or the names of the parts of a mixture; windows and classes have the name of their selector."""
    if isinstance(selector, Mixture):
        return tuple(name for part in selector.selectors for name in names_of(part))
    if isinstance(selector, TrustedDraws):
        return (ONLY,) if selector.selector is None else names_of(selector.selector)
    around = isinstance(selector, Windowed | PerClass | Filtered | SideFiltered)
    return names_of(selector.selector) if around else (selector.name,)


def _made(name: str, given: Mapping[str, Any], settings: Settings) -> Selector:
    """Make the selector of one part."""
    own = {key: value for key, value in given.items() if key not in RUN_SETTINGS}
    side = flag(name, own, "side")
    keep = own.pop("filter", None) if side else None
    run: dict[str, Any] = {"eta": settings.eta} if name == "rcs" else {}
    if name == "rcs" and settings.group_size is not None:
        run["group_size"] = settings.group_size
    made = made_from(name, own, run, settings.rd.attack)
    reads = {
        "capture": "gradients" in made.requires,
        "select_attack_steps": settings.attack is not None and bool(made.requires & {"gradients", "inputs"}),
        "rd_steps": name in OBJECTIVE_METHODS,
    }
    lost = [key for key in RUN_SETTINGS if key in given and not reads[key]]
    if lost:
        raise RequirementError(
            f"{', '.join(lost)} would have no effect for {name!r} with {settings.system}: leave it out."
        )
    return SideFiltered(made, share_kept(name, keep)) if side else made

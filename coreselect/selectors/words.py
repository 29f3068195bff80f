"""Selection methods written in words, for command lines and tables:

    method = part + part …      the parts share the budget equally, in order (`Mixture`)
    part   = name : key=value …

`rcs`, `rcs:objective=adversarial_ce:eta=0.05`, `rcs:divergence=js`, `rcs:sketch=512`, `craig:target=validation`, `rcs+redraw`,
`rcs:window=100x512` (window by window, each of 100 batches of 512), `rs2:balance=labels`, `rs2:balance=clusters` (equal shares of
the classes, or of clusters; `:weighted=true` weighs the picks back to the pool's shares), `rs2:filter=0.6` (among the share of each
class that has the lowest loss).
"""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from coreselect.errors import RequirementError
from coreselect.gradients.sketch import Sketch
from coreselect.objectives import objective_named
from coreselect.protocols import Attack, Selector
from coreselect.selectors.combinators.filtered import Filtered
from coreselect.selectors.combinators.per_class import balanced
from coreselect.selectors.combinators.windowed import in_windows
from coreselect.selectors.registry import COMBINATORS, get_selector

OBJECTIVE_METHODS = ("rcs", "rcs_sampled")  # selectors that read an objective on held-out images

FLAGS = {"side": "filter=0.6", "weighted": "balance=labels"}  # settings that are true or false, and what they belong to


def parts_in(words: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the name and the settings of each part of a method.

    Raises:
        RequirementError: a setting is not key=value, or is there twice.
    """
    found = []
    for part in re.split(r"\+(?!\d)", words):  # no name begins with a digit, but 1e+5 is a possible value
        name, *given = (word.strip() for word in part.split(":"))
        sides = [[side.strip() for side in word.partition("=")] for word in given]
        pairs = [(key.replace("-", "_"), value) for key, _, value in sides]
        wrong = [word for word, pair in zip(given, pairs, strict=True) if not all(pair)]
        if wrong:
            why = f"{words!r} contains {wrong[0]!r}: write key=value after the name and a colon, such as rcs:eta=0.05."
            raise RequirementError(why)
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            raise RequirementError(f"{words!r} sets {max(keys, key=keys.count)} twice: leave one out.")
        found.append((name, {key: _value(value) for key, value in pairs}))
    return found


def made_from(name: str, given: Mapping[str, Any], usual: Mapping[str, Any], attack: Attack | None) -> Selector:
    """Make the selector of one part.

    Args:
        given: its settings, as `parts_in` reads them.
        usual: values of settings that `given` leaves out; `objective` and `divergence` are names, as in `given`.
        attack: of an objective that the words name.
    Raises:
        UnknownNameError: no selector or objective has this name.
        RequirementError: the selector has no such setting, or it combines other selectors, or `filter` is no share, or a side
            model would be needed, or objective and divergence do not go together.
        ShapeError: `window` or `balance` has another form.
    """
    if name in {c.name for c in COMBINATORS}:
        why = f"{name!r} combines other selectors: write a mixture as rcs+redraw, or use {name!r} from Python."
        raise RequirementError(why)
    own = {**usual, **given}
    if flag(name, own, "side"):
        raise RequirementError(
            f"{name}:filter with side=true trains a side model, which 'train', 'compare' and 'race' do: leave side=true out."
        )
    window, balance, keep = (own.pop(key, None) for key in ("window", "balance", "filter"))
    weighted = balance is not None and flag(name, own, "weighted")
    if name in OBJECTIVE_METHODS:
        which, divergence = str(own.pop("objective", "rd")), own.pop("divergence", None)
        own["objective"] = objective_named(which, None if divergence is None else str(divergence), attack=attack)
    if type(own.get("sketch")) is int:
        own["sketch"] = Sketch(own["sketch"])
    made = get_selector(name, **own)
    made = made if window is None else in_windows(made, str(window))
    made = made if balance is None else balanced(made, str(balance), weighted=weighted)
    return made if "filter" not in given else Filtered(made, share_kept(name, keep))


def flag(name: str, given: dict[str, Any], key: str) -> bool:
    """Take a setting that is true or false out of `given`; without it, it is false.

    Raises:
        RequirementError: it has another value.
    """
    value = given.pop(key, False)
    if not isinstance(value, bool):
        beside = FLAGS[key]
        raise RequirementError(f"{key} is true or false, such as {name}:{beside}:{key}=true, got {value!r}.")
    return value


def share_kept(name: str, keep: Any) -> float:
    """Return the value of `filter`.

    Raises:
        RequirementError: it is no number.
    """
    if isinstance(keep, bool) or not isinstance(keep, int | float):
        raise RequirementError(
            f"filter is the share of each class that is kept, such as {name}:filter=0.6, got {keep!r}."
        )
    return keep


def _value(text: str) -> Any:
    """Read a number, true, false or null; anything else is a word."""
    for read in (json.loads, float):  # .05 is not JSON
        with suppress(ValueError, RecursionError):
            return read(text)
    return text

"""What a selector needs of a task, and the sentence for what is not there."""

from collections.abc import Iterable, Mapping
from typing import Any

from coreselect.errors import RequirementError

_REMEDIES = {  # for each requirement of a selector, how a user can provide it
    "labels": "give a pool whose items are (x, y), or labels",
    "features": "give a model, or features",
    "logits": "give a model and a supervised loss, or logits",
    "gradients": "give a model, or gradients",
    "example_gradients": "give a loss of single examples, or use rcs, which chooses groups",
    "inputs": "give a model and its pool (Task.from_model)",
    "validation": "give validation inputs (coreselect.holdout splits some off), or a validation gradient",
    "validation_labels": "give validation items that are (x, y)",
    "history": "give a history in which training recorded logits of classes (coreselect.history)",
    "recorded_features": "give a history made with History(n, features=True), and train with it",
    "losses": "give a history in which training recorded losses or logits (coreselect.history)",
}


def refuse_no_selector(selector: Any) -> None:
    """Refuse anything that cannot select.

    Raises:
        RequirementError: it is the class of a selector, or no selector.
    """
    if isinstance(selector, type):
        name = selector.__name__
        raise RequirementError(f"the selector {name} is a class, and an object is needed: give {name}().")
    if not hasattr(selector, "requires") or not callable(getattr(selector, "select", None)):
        raise RequirementError(
            f"{selector!r:.60} is no selector: give an object with requires and select, such as get_selector('rcs')."
        )


def require(selector: Any, provides: Iterable[str], lacks: Mapping[str, str] | None = None) -> None:
    """Raise RequirementError if the selector needs something that is not in `provides`.

    Args:
        lacks: why the task does not provide something, if there is more to say than that it has none.
    """
    provides = set(provides)
    missing = sorted(set(selector.requires) - provides)
    if missing and not getattr(selector, "or_else", {missing[0]}) <= provides:
        what = missing[0]
        why = (lacks or {}).get(what)
        if why:
            raise RequirementError(
                f"the selector {selector.name!r} needs {what.replace('_', ' ')} of classes, and {why}: "
                "give items that are (x, class number), or choose a method that needs no classes, such as 'rcs' or 'rs2'."
            )
        remedy = _REMEDIES.get(what, "provide it")
        raise RequirementError(
            f"the selector {selector.name!r} needs {what.replace('_', ' ')}, and this task has none: {remedy}."
        )

"""The function `select`: it checks the request, runs the selector, and checks the selection."""

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import CoreselectError, RequirementError
from coreselect.objectives.following import following, parts
from coreselect.protocols import Selector, TaskLike
from coreselect.support.bounds import bounds_of, check_range
from coreselect.support.type_checks import LARGEST_SEED, whole
from coreselect.task.recipe import ModelRecipe
from coreselect.types import Selection

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
    "losses": "give a history in which training recorded losses or logits (coreselect.history)",
}


def select(task: TaskLike, selector: Selector, budget: Budget, seed: int = 0, *, round: int = 0) -> Selection:
    """Choose exactly `budget` examples of a task's pool.

    Args:
        task: from `Task.from_model` or `Task.from_arrays`.
        selector: any `Selector`, `RCS()` for instance.
        budget: a count (int), or a fraction f in (0, 1] meaning ⌊f·N⌋ exactly.
        seed: seed and round decide every random draw; global random states are neither read nor changed.
        round: the number of this selection in its run, ≥ 0.
    Returns:
        The selection: k unique positions in the pool, in pick order, with provenance.
    Raises:
        BudgetError: the budget is out of range.
        RequirementError: the task lacks something that the selector needs, or seed or round is no whole number from 0 on.
        OutOfBoundsError: inputs lie outside the bounds of an attack of this selection.
        CoreselectError: the selector returned a wrong number of picks, or picks that are not unique positions.
    """
    seed = whole("seed", seed, RequirementError, most=LARGEST_SEED)
    round = whole("round", round, RequirementError)
    k = resolve(budget, task.n)
    check_selector(selector, task)
    selection = selector.select(task, k, generator=torch.Generator().manual_seed(seed), round=round)
    indices = selection.indices
    fault = (
        f"{len(indices)} picks for a budget of {k}"
        if len(indices) != k
        else "a pick twice"
        if len(np.unique(indices)) != k
        else f"a pick outside 0…{task.n - 1}"
        if indices.min() < 0 or indices.max() >= task.n
        else None
    )
    if fault:
        raise CoreselectError(f"the selector {selector.name!r} broke its contract: it returned {fault}.")
    return selection


def check_selector(selector: Selector, task: TaskLike) -> None:
    """Refuse a selector that cannot work on a task, by what is known without reading anything more.

    Raises:
        RequirementError: the selector needs something that the task does not provide.
        OutOfBoundsError: the first inputs lie outside the bounds of an attack that will act on them.
    """
    require(selector, task.provides, getattr(task, "lacks", {}))
    check_ranges(selector, task)


def require(selector: Selector, provides: Iterable[str], lacks: Mapping[str, str] | None = None) -> None:
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


def check_ranges(selector: Selector, task: TaskLike) -> None:
    """Refuse a task whose first inputs lie outside the bounds of an attack that is certain to act on them.

    Nothing is read: the task has seen its first inputs when it was made. A selector says what it attacks in `attacks`, a set
    of "pool" (by the task's attack, if its loss reads attacked inputs) and "validation" (by the attack of its objective).
    The attack itself looks at every input.

    Raises:
        OutOfBoundsError: see above.
    """
    if not isinstance(task, ModelRecipe):
        return
    loss_attacks = any(route == "adversarial" for route, _ in task.loss.streams)
    pool = task.attack if loss_attacks else None
    for part in parts(selector):
        objective = getattr(part, "objective", None)
        validation = None if objective is None else following(objective, task.attack).attack
        for what, attack in (("pool", pool), ("validation", validation)):
            of_views = what == "pool" and task.views is not None  # a view may have another range than its image
            seen = task.first_ranges.get("views of the pool" if of_views else what)
            if what in getattr(part, "attacks", ()) and seen is not None:
                check_range(seen, bounds_of(attack), "views of pool inputs" if of_views else f"{what} inputs")

"""The functions `select` and `select_each`, which check the request and the selection, and `plan`, which says the cost before."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import CoreselectError, RequirementError
from coreselect.gradients.row_store import RowStore
from coreselect.gradients.shared_rows import SharedRows
from coreselect.objectives.following import following, parts
from coreselect.planning.estimate import estimate
from coreselect.planning.record import Plan
from coreselect.protocols import Progress, Selector, TaskLike
from coreselect.support import collectives, ranks
from coreselect.support.bounds import bounds_of, check_range
from coreselect.support.records import settings_of
from coreselect.support.requirements import refuse_no_selector, require
from coreselect.support.type_checks import LARGEST_SEED, whole
from coreselect.task.recipe import ModelRecipe, Recipe, no_progress
from coreselect.types import Selection

Store = RowStore | str | Path | None


def select(
    task: TaskLike,
    selector: Selector,
    budget: Budget,
    seed: int = 0,
    *,
    round: int = 0,
    store: Store = None,
    progress: Progress | bool = False,
    share: bool = False,
) -> Selection:
    """Choose exactly `budget` examples of a task's pool.

    Args:
        task: from `Task.from_model` or `Task.from_arrays`.
        selector: any `Selector`, `RCS()` for instance.
        budget: a count (int), or a fraction f in (0, 1] meaning ⌊f·N⌋ exactly.
        seed: seed and round decide every random draw; global random states are neither read nor changed.
        round: the number of this selection in its run, ≥ 0.
        store: a folder for what sweeps over the pool compute, written batch by batch. If the process is killed, the same call
            goes on at the first batch that is missing, and gives the same bits as an uninterrupted one. Other selectors of the
            same model, pool, seed and round use what is there.
        progress: True shows rate and time left on stderr (bars on a terminal, else a line now and then); a callable gets (part,
            examples done, examples in all) after each batch; False says nothing.
        share: share the sweeps over the pool among all ranks of torch's default process group. Every rank must then call
            `select` with the same arguments, and every rank gets rank 0's selection, made under rank 0's model. The answer has
            the same bits for any number of ranks. Without a group, or by default, this process does all the work, so that one
            rank may select by itself.
    Returns:
        The selection: k unique positions in the pool, in pick order, with provenance.
    Raises:
        BudgetError: the budget is out of range.
        RequirementError: the task lacks something that the selector needs, or seed or round is no whole number from 0 on.
        OutOfBoundsError: inputs lie outside the bounds of an attack of this selection.
        StoreError: the store is in use, holds rows of another run, is damaged, or cannot be written.
        ScheduleError: with `share`: another rank failed (its reason is in the message), has other arguments or another pool, has
            ended, or did not answer within `coreselect.support.ranks.TIMEOUT`, 30 minutes.
        CoreselectError: the selector returned a wrong number of picks, or picks that are not unique positions.
    """
    if not share or ranks.world_size() == 1:
        return _select(task, selector, budget, seed, round, store, progress)

    def work(with_others: ranks.Work) -> Selection:
        described = {"selector": (selector.name, settings_of(selector)), "budget": budget, "seed": seed, "round": round}
        with_others.agree("the start of a selection", described)
        shared = replace(task, work=with_others) if isinstance(task, ModelRecipe) else task
        return _select(shared, selector, budget, seed, round, store, progress)

    chosen = ranks.together(work, "select")
    return Selection.from_plain(collectives.of_rank_0(asdict(chosen)))


def _select(
    task: TaskLike, selector: Selector, budget: Budget, seed: int, round: int, store: Store, progress: Progress | bool
) -> Selection:
    """Select in this process, or as one of several if the task says so."""
    k, seed, round = check_request(task, selector, budget, seed, round)
    if store is not None:
        if not isinstance(task, Recipe):
            raise RequirementError("a store belongs to a task, and this is an open snapshot: give the task.")
        task = task.storing(store)  # type: ignore[assignment]  # every recipe of a user is a task
    with _telling(task, progress) as told:
        selection = selector.select(told, k, generator=torch.Generator().manual_seed(seed), round=round)
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


def check_request(
    task: TaskLike, selector: Selector, budget: Budget, seed: int, round: int = 0
) -> tuple[int, int, int]:
    """Check a request as `select` does before it reads anything, and return the number of picks, the seed and the round as ints.

    Raises:
        BudgetError, RequirementError, OutOfBoundsError: as `select` says.
    """
    seed = whole("seed", seed, RequirementError, most=LARGEST_SEED)
    round = whole("round", round, RequirementError)
    k = resolve(budget, task.n)
    check_selector(selector, task)
    return k, seed, round


def select_each(
    task: TaskLike,
    selectors: Iterable[Selector],
    budget: Budget,
    seed: int = 0,
    *,
    round: int = 0,
    store: Store = None,
    progress: Progress | bool = False,
    share: bool = False,
) -> Iterator[Selection]:
    """Choose by several selectors, with each sweep over the pool made once.

    Features, logits and prepared inputs that one selector has computed are used by those after it. They are kept in the store, or
    in memory without one. Each selection is the same as that of `select`, and comes as soon as it is made.

    Args:
        task, budget, seed, round, store, progress, share: as for `select`.
        selectors: in the order in which they choose.
    Returns:
        An iterator over one selection for each selector.
    Raises:
        BudgetError, RequirementError, OutOfBoundsError: as `select` says, at once.
        StoreError, CoreselectError: as `select` says.
    """
    selectors = tuple(selectors)
    for selector in selectors:
        check_request(task, selector, budget, seed, round)
    kept = (
        store if store is not None else SharedRows() if isinstance(task, ModelRecipe) and task.store is None else None
    )
    return (select(task, s, budget, seed, round=round, store=kept, progress=progress, share=share) for s in selectors)


@contextmanager
def _telling(task: TaskLike, progress: Progress | bool) -> Iterator[TaskLike]:
    """Give the task that reports its progress; an open snapshot reports as the selection around it does."""
    if progress is False or not isinstance(task, Recipe):
        yield task
    elif progress is True:
        from coreselect.support.progress import (
            progress as shown_progress,  # imports rich, which nothing else here needs
        )

        with shown_progress() as report:
            yield task.reporting(report)  # type: ignore[misc]  # every recipe of a user is a task
    else:
        yield task.reporting(progress)  # type: ignore[misc]


def plan(
    task: TaskLike, selector: Selector, budget: Budget, seed: int = 0, *, round: int = 0, timed: bool = True
) -> Plan:
    """Say what a selection will cost, before it takes memory or time: passes of the model, bytes, and seconds.

    Passes are counted as the selection will make them. Where the inputs decide how many, or groups differ in size, the plan gives
    an upper bound and says so. Seconds are an estimate: the first batch is read, attacked and passed through the model, and its
    time for each example is multiplied. A selector without a method `costs` is described by what it says it `requires`.

    Args:
        task, selector, budget, seed, round: as for `select`.
        timed: whether the first batch is swept for its time; without, the model is only probed with up to four images.
    Returns:
        The plan.
    Raises:
        BudgetError, RequirementError, OutOfBoundsError: as `select` says.
    """
    k, seed, round = check_request(task, selector, budget, seed, round)
    quiet: TaskLike = task  # the timed batch is no part of a sweep: nothing is told or kept of it
    if isinstance(task, Recipe):
        quiet = task.reporting(no_progress).storing(None)  # type: ignore[assignment]  # every recipe of a user is a task
    with quiet.snapshot(seed, round) as snapshot:
        return estimate(snapshot, selector, k, timed=timed)


def check_selector(selector: Selector, task: TaskLike) -> None:
    """Refuse a selector that cannot work on a task, by what is known without reading anything more.

    Raises:
        RequirementError: it is no selector, needs something that the task does not provide, or refuses the task itself (`refuse`).
        OutOfBoundsError: the first inputs lie outside the bounds of an attack that will act on them.
    """
    refuse_no_selector(selector)
    require(selector, task.provides, getattr(task, "lacks", {}))
    for part in parts(selector):
        if callable(refuse := getattr(part, "refuse", None)):
            refuse(task)
    check_ranges(selector, task)


def check_ranges(selector: Selector, task: TaskLike) -> None:
    """Refuse a task whose first inputs lie outside the bounds of an attack that is certain to act on them.

    Nothing is read: the task has seen its first inputs when it was made. A selector says what it attacks in `attacks`, a set
    of "pool" (by the task's attack, if its loss reads attacked inputs) and "validation" (by the attack of its objective).
    The attack itself looks at every input. An attack inside the model has no bounds, and must be given.

    Raises:
        OutOfBoundsError: see above.
        RequirementError: the objective has no attack for the output of a submodule.
    """
    if not isinstance(task, ModelRecipe):
        return
    inside = task.attack_at is not None
    loss_attacks = any(route == "adversarial" for route, _ in task.loss.streams)
    pool = task.attack if loss_attacks else None
    for part in parts(selector):
        objective = getattr(part, "objective", None)
        validation = None if objective is None else following(objective, task.attack, inside=inside).attack
        for what, attack in (("pool", pool), ("validation", validation)):
            of_views = what == "pool" and task.views is not None  # a view may have another range than its image
            seen = task.first_ranges.get("views of the pool" if of_views else what)
            if what in getattr(part, "attacks", ()) and seen is not None and not inside:
                check_range(seen, bounds_of(attack), "views of pool inputs" if of_views else f"{what} inputs")

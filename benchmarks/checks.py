"""The share of a selection's processor time that is spent on checks of what the user gave.

The time is that of making a task and selecting with RCS. The checks are the functions of `CHECKS`; a check that calls another
one counts once.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from time import process_time
from typing import Any

from benchmarks import problem
from benchmarks.case_types import CheckCase
from benchmarks.meter import Meter
from coreselect import Task, holdout, select
from coreselect.objectives import RD
from coreselect.selectors import RCS

CHECKS = (
    "coreselect.task.first_look:first_look",
    "coreselect.choosing:require",
    "coreselect.choosing:check_ranges",
    "coreselect.support.bounds:range_of",
    "coreselect.support.bounds:check_range",
    "coreselect.support.one_logit:refuse_one_logit",
    "coreselect.gradients.inputs:refuse_inputs",
    "coreselect.gradients.inputs:refuse_labels",
    "coreselect.network.split_checks:refuse_batch_dependence",
    "coreselect.network.split_checks:refuse_wrong_split",
    "coreselect.selectors.checks:nonzero_query",
)


def run(case: CheckCase, *, data: str) -> dict[str, Any]:
    """Measure one case: `share` is the processor time of all checks / that of the task and the selection."""
    dataset = problem.images(data, case.pool + case.validation)
    pool, validation = holdout(dataset, size=case.validation, seed=case.seed)
    model = problem.network()
    with Meter() as meter, timed(CHECKS) as seconds, meter("select"):
        task = Task.from_model(model, pool, validation, loss="sat", attack=case.attack, batch_size=case.batch_size)
        select(task, RCS(RD(), group_size=case.group_size), case.budget, case.seed)
    return {
        "share": sum(seconds.values()) / meter.cpu_seconds["select"],
        **meter.record(),
        "check_cpu_seconds": {name: round(spent, 4) for name, spent in seconds.items()},
    }


@contextmanager
def timed(names: tuple[str, ...]) -> Iterator[dict[str, float]]:
    """Yield the processor seconds spent in some functions, by name, while the block runs; inner calls count to the outer one."""
    spent, running = dict.fromkeys(names, 0.0), [False]

    def watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if running[0]:
                return function(*args, **kwargs)
            running[0], start = True, process_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent[name] += process_time() - start
                running[0] = False

        return call

    replaced: list[tuple[Any, str, Any]] = []
    for name in names:
        module, _, attribute = name.partition(":")
        function = getattr(importlib.import_module(module), attribute)
        new = watched(name, function)
        for user in [m for n, m in sys.modules.items() if n.split(".")[0].startswith("coreselect")]:
            replaced += [(user, key, function) for key, value in vars(user).items() if value is function]
        for user, key, old in replaced:
            if old is function:
                setattr(user, key, new)
    try:
        yield spent
    finally:
        for user, key, old in replaced:
            setattr(user, key, old)

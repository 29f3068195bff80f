"""Baselines at their promised sizes, called by public names: seconds, memory besides the arrays, and plain checks.

    graph       f(S) = Σ_i max_{j∈S} s_ij on a neighbour graph, no matrix
    gradmatch   ‖Σ_{i∈S} w_i g_i − b‖, w ≥ 0
    kcenter     r(S) = max_i min_{j∈S} ‖φ_i − φ_j‖

Each is one `select` of a `Task.from_arrays`. The value in the certificate is compared with `points`. In small cases (`oracle`)
the picks are also compared with those of a plain procedure: `share` is our value ÷ its value.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import points
from benchmarks.case_types import BaselineCase
from benchmarks.meter import MIB, Meter
from coreselect import Selection, Selector, Task, select
from coreselect.selectors import FacilityLocation, GradMatch, KCenter

FIRST = 256  # examples of a first selection without timing, which loads libraries


def run(case: BaselineCase) -> dict[str, Any]:
    """Measure one case: seconds, processor seconds and peak memory of `select`."""
    x = points.mixture(case.pool, case.width, case.clusters, case.seed)
    measured = {"graph": graph, "gradmatch": gradmatch, "kcenter": kcenter}[case.kind]
    return measured(case, x)


def graph(case: BaselineCase, x: NDArray[np.float32]) -> dict[str, Any]:
    """Measure facility location; `share` is f of its picks ÷ f of plain greedy's."""
    chosen, measures = timed(FacilityLocation(dense_up_to=0), case.budget, x, features)
    value = points.coverage(x, chosen.indices)
    plain = points.coverage(x, points.greedy(x, case.budget)) if case.oracle else None
    return {
        **measures,
        **certificate_error(chosen, value),
        "share": plain and value / plain,
        "dense_mib": 4 * case.pool**2 / MIB,
    }


def gradmatch(case: BaselineCase, x: NDArray[np.float32]) -> dict[str, Any]:
    """Measure gradient matching; `share` is our residual ÷ the plain one."""
    selector = GradMatch()
    chosen, measures = timed(selector, case.budget, x, gradients)
    assert chosen.weights is not None  # gradients of a mixture have positive correlations with their mean
    assert chosen.certificate is not None
    value = points.residual(x, chosen.indices, chosen.weights / case.budget)
    plain = points.residual(x, *points.matching(x, case.budget, selector.ridge)) if case.oracle else None
    said = chosen.certificate.details
    off = abs(value - said["residual"]) / said["target_norm"]
    return {**measures, "value": value, "certificate_off_by": off, "share": plain and value / plain}


def kcenter(case: BaselineCase, x: NDArray[np.float32]) -> dict[str, Any]:
    """Measure k-center; `share` is our covering radius ÷ the plain one."""
    chosen, measures = timed(KCenter(), case.budget, x, features)
    value = points.radius(x, chosen.indices)
    plain = points.radius(x, points.farthest_first(x, case.budget)) if case.oracle else None
    return {**measures, **certificate_error(chosen, value), "share": plain and value / plain}


def timed(
    selector: Selector, budget: int, x: NDArray[np.float32], task: Callable[[NDArray[np.float32]], Task]
) -> tuple[Selection, dict[str, Any]]:
    """Select, and return the selection and its costs; memory is counted without the array."""
    select(task(x[:FIRST]), selector, 16, 0)
    with Meter() as meter, meter("select"):
        chosen = select(task(x), selector, budget, 0)
    return chosen, {
        **meter.record(),
        "by_part": {k: round(v, 4) for k, v in chosen.provenance.seconds.items()},
        "array_mib": round(x.nbytes / MIB, 1),
    }


def features(x: NDArray[np.float32]) -> Task:
    """Return the task of a pool with features only."""
    return Task.from_arrays(features=x)


def gradients(x: NDArray[np.float32]) -> Task:
    """Return the task of a pool with gradients only."""
    return Task.from_arrays(gradients=x)


def certificate_error(chosen: Selection, value: float) -> dict[str, float]:
    """Return the plainly computed value, and the relative error of the value in the certificate."""
    assert chosen.certificate is not None
    return {"value": value, "certificate_off_by": abs(chosen.certificate.value / value - 1)}

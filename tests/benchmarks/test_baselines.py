"""Claims about the baselines' benchmarks at toy size: plain procedures are what they say, and wrong answers are seen."""

import math
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy.optimize import nnls

from benchmarks import baselines, points
from benchmarks.case_types import BaselineCase
from benchmarks.cases import CASES
from coreselect.selectors import FacilityLocation

SMALL = {
    name: replace(CASES[f"{name}-small"], pool=300, budget=20, width=24) for name in ("graph", "gradmatch", "kcenter")
}  # type: ignore[type-var]
X = points.mixture(12, 3, 4, 1)


def test_coverage_is_the_double_loop() -> None:
    """f by two loops over cosines, and by hand for two directions at a right angle."""
    z = points.directions(X)
    want = sum(max((1 + float(z[i] @ z[j])) / 2 for j in (2, 7, 9)) for i in range(12))
    assert points.coverage(X, [2, 7, 9]) == pytest.approx(want)
    assert points.coverage(np.array([[3.0, 0.0], [0.0, 2.0]], np.float32), [0]) == pytest.approx(1.5)


def test_blocks_do_not_change_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of five of twelve rows, the last one short, give the same sum."""
    want = points.coverage(X, [2, 7])
    monkeypatch.setattr(points, "BLOCK", 5)
    assert points.coverage(X, [2, 7]) == pytest.approx(want)


def test_plain_greedy_takes_the_best_next_example() -> None:
    """Every pick has the largest f of all that could be added, evaluated anew."""
    picks = points.greedy(X, 6)
    for t, pick in enumerate(picks):
        values = [points.coverage(X, [*picks[:t], j]) if j not in picks[:t] else -math.inf for j in range(12)]
        assert points.coverage(X, [*picks[:t], pick]) == pytest.approx(max(values))


def test_the_radius_is_the_worst_nearest_distance() -> None:
    """By two loops; and picks by farthest first are within twice the best of all sets as large."""

    def loops(picks: Any) -> float:
        return max(min(math.dist(X[i], X[j]) for j in picks) for i in range(12))

    assert points.radius(X, [1, 5]) == pytest.approx(loops([1, 5]), rel=1e-6)
    best = min(loops(picks) for picks in combinations(range(12), 3))
    assert best <= points.radius(X, points.farthest_first(X, 3)) <= 2 * best


def test_plain_matching_ends_where_no_weight_can_be_bettered() -> None:
    """Weights are positive, as many as asked for, and SciPy's own for those picks; more picks match better."""
    x = points.mixture(60, 8, 5, 2)
    picks, w = points.matching(x, 6, 0.0)
    assert len(set(picks)) == 6
    assert (w > 0).all()
    again, norm = nnls(x.astype(np.float64)[picks].T, x.astype(np.float64).mean(0))
    assert w == pytest.approx(again, rel=1e-6)
    assert points.residual(x, picks, w) == pytest.approx(norm, rel=1e-6)
    assert norm < points.residual(x, *points.matching(x, 3, 0.0))


@pytest.mark.parametrize("name", SMALL)
def test_a_toy_case_agrees_with_the_plain_procedure(name: str) -> None:
    """Each baseline's picks are as good as the plain ones, and its certificate states their value."""
    case: Any = SMALL[name]
    result = baselines.run(case)
    assert result["certificate_off_by"] <= 1e-6
    assert result["share"] == pytest.approx(1.0, abs=5e-3)
    assert set(result["seconds"]) == set(result["cpu_seconds"]) == set(result["peak_mib"]) == {"select"}
    for t in case.thresholds:
        assert t.holds(result[t.measure])


def test_worse_picks_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Picks that cover on average, not at worst, have a larger radius: the share passes its threshold."""
    case: Any = SMALL["kcenter"]
    monkeypatch.setattr(baselines, "KCenter", FacilityLocation)
    assert not case.thresholds[1].holds(baselines.run(case)["share"])


def test_a_certificate_that_states_something_else_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value that is not that of the picks is further off than the threshold allows."""
    value = points.radius
    monkeypatch.setattr(points, "radius", lambda x, picks: 1.001 * value(x, picks))
    case: Any = SMALL["kcenter"]
    assert not case.thresholds[0].holds(baselines.run(case)["certificate_off_by"])


def test_without_an_oracle_no_share_is_claimed() -> None:
    """Full cases run no plain procedure: their share is missing, not 1."""
    case: Any = replace(SMALL["graph"], oracle=False)  # type: ignore[type-var]
    assert baselines.run(case)["share"] is None
    assert not any(c.oracle for name, c in CASES.items() if isinstance(c, BaselineCase) and name.endswith("full"))

"""Lazy coverage by distances is greedy facility location."""

import itertools
import math

import numpy as np
import pytest
from gradient_rows import Array, all_distances, normal, rows_of, slow_cover
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from coreselect.solvers.coverage import CoverResult, maximise
from coreselect.solvers.distance_cover import ClassDistances, DistanceCover


def cover(g: Array, k: int, dense_up_to: int) -> tuple[CoverResult, NDArray[np.int64], Array]:
    """Choose k of the rows g; return the result, each row's nearest pick and its distance."""
    made = DistanceCover(ClassDistances(rows_of(g), np.arange(len(g)), dense_up_to))
    return maximise(made, k), *made.nearest_pick()


@given(st.integers(0, 10_000), st.integers(1, 20), st.data(), st.booleans())
def test_cover_is_greedy_facility_location(seed: int, n: int, data: st.DataObject, dense: bool) -> None:
    """Picks, gains, F and owners are those of the definition, with stored distances and with distances computed when needed."""
    k = data.draw(st.integers(1, n))
    g = normal(seed, n, 3)
    d = all_distances(g)
    found, owner, nearest = cover(g, k, n if dense else 0)
    order, gains = slow_cover(d, k)
    assert found.picks.tolist() == order
    assert found.gains == pytest.approx(gains, abs=1e-9)
    assert found.value == pytest.approx(sum(gains), abs=1e-9)
    assert nearest == pytest.approx(d[:, order].min(1), abs=1e-7)
    assert owner.tolist() == [min(order, key=lambda j: (d[i, j], j)) for i in range(n)]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("k", [1, 2, 3])
def test_cover_keeps_the_greedy_guarantee(seed: int, k: int) -> None:
    """F(S) is at least 1 − 1/e of the best of all sets, and the stated bound is never below that best."""
    d = all_distances(normal(seed, 9, 2))
    found, _, _ = cover(normal(seed, 9, 2), k, 9)
    best = max((d.max() - d[:, list(s)].min(1)).sum() for s in itertools.combinations(range(9), k))
    assert (1 - 1 / math.e) * best <= found.value <= best + 1e-9
    assert best <= found.upper + 1e-9

"""Facility location equals plain greedy and is bounded by its certificate."""

import itertools
from typing import Any

import numpy as np
import pytest
from kernels import choose, coverage, greedily, kernel, points

from coreselect.search.similarity import GRID
from coreselect.selectors import FacilityLocation
from coreselect.solvers.coverage import GUARANTEE


@pytest.mark.parametrize("kind", ["cosine", "euclidean", "rbf"])
@pytest.mark.parametrize("dense_up_to", [100, 0])
def test_facility_location_equals_plain_greedy(kind: Any, dense_up_to: int) -> None:
    """With a matrix and with a graph of all neighbours, picks and gains are those of evaluating f for every candidate."""
    x = points(22, seed=3)
    s = np.round(kernel(x, kind) / GRID) * GRID
    picks, gains = greedily(22, 8, coverage(s), near=1e-12)
    chosen = choose(x, FacilityLocation(kind, dense_up_to=dense_up_to, neighbours=22), 8)
    assert chosen.indices.tolist() == picks
    assert np.allclose(chosen.gains, gains, rtol=0, atol=30 * GRID)
    assert chosen.provenance.notes[0].startswith("dense" if dense_up_to else "graph")


@pytest.mark.parametrize("neighbours", [0, 1, 2, 4])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_facility_location_is_bounded_by_its_certificate(neighbours: int, k: int) -> None:
    """The best of all sets is at most the stated bound, also on sparse graphs (0: dense), and the stated value is f."""
    x = points(10, 3, seed=7)
    f = coverage(kernel(x, "rbf"))
    best = max(f(S) for S in itertools.combinations(range(10), k))
    selector = FacilityLocation("rbf", dense_up_to=0 if neighbours else 10, neighbours=neighbours or 1)
    chosen = choose(x, selector, k)
    sealed = chosen.certificate
    assert sealed is not None
    assert sealed.upper_bound is not None
    assert sealed.ratio is not None
    assert sealed.upper_bound >= best - 1e-6
    assert sealed.value == pytest.approx(f(chosen.indices.tolist()), abs=1e-6)
    if not neighbours:
        assert sealed.ratio >= GUARANTEE
        assert f(chosen.indices.tolist()) >= GUARANTEE * best


@pytest.mark.parametrize("kind", ["cosine", "rbf"])
def test_a_sparse_graph_loses_little(kind: Any) -> None:
    """With 16 of 600 neighbours f is within half a per cent of the dense value, and no matrix is made."""
    x = points(600, 8, seed=1)
    dense = choose(x, FacilityLocation(kind), 60).certificate
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coreselect.search.similarity.Similarity.matrix", None)
        sparse = choose(x, FacilityLocation(kind, dense_up_to=599, neighbours=16), 60).certificate
    assert dense is not None
    assert sparse is not None
    assert sparse.value > 0.995 * dense.value


def test_gains_leave_no_dust() -> None:
    """After hundreds of updates a candidate that adds nothing has gain exactly 0, so the rest is filled by the lowest indices."""
    x = np.repeat(points(40, 6), 5, axis=0)[np.random.default_rng(0).permutation(200)]
    for selector in (FacilityLocation(), FacilityLocation(dense_up_to=0, neighbours=7), FacilityLocation("rbf")):
        chosen = choose(x, selector, 60)
        firsts = {min(np.flatnonzero((x == row).all(1))) for row in x}
        assert set(chosen.indices[:40].tolist()) == firsts
        assert chosen.indices[40:].tolist() == [i for i in range(200) if i not in firsts][:20]
        assert (chosen.gains[40:] == 0).all()
        assert "20 picks add nothing" in chosen.provenance.notes[-1]


def test_a_crowd_of_equals_is_one_example_that_counts() -> None:
    """A point that occurs more often than K times is still picked first, because it covers most."""
    x = np.concatenate([points(30, 4), np.tile([[0.0, 0.0, 0.0, 9.0]], (50, 1))])
    assert choose(x, FacilityLocation("rbf", dense_up_to=0, neighbours=3), 2).indices[0] == 30

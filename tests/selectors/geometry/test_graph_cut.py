"""Graph cut equals plain greedy and is bounded by its certificate."""

import itertools
from typing import Any

import numpy as np
import pytest
from kernels import choose, cut, greedily, kernel, points

from coreselect.selectors import GraphCut
from coreselect.solvers.coverage import GUARANTEE


@pytest.mark.parametrize("kind", ["cosine", "euclidean", "rbf"])
@pytest.mark.parametrize("lam", [2.0, 0.4])
def test_graph_cut_equals_plain_greedy(kind: Any, lam: float) -> None:
    """Picks and gains are those of evaluating f for every candidate; f of all the picks is the stated value."""
    x = points(18, seed=4)
    f = cut(kernel(x, kind), lam)
    picks, gains = greedily(18, 18, f)
    chosen = choose(x, GraphCut(lam, kind), 18)
    assert chosen.indices.tolist() == picks
    assert np.allclose(chosen.gains, gains)
    assert chosen.scores is not None
    assert np.allclose(chosen.scores, [f([i]) for i in range(18)])
    assert (chosen.certificate is None) == (lam < 2)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_graph_cut_is_bounded_by_its_certificate(k: int) -> None:
    """The best of all sets is at most the stated bound, and greedy has at least 1 − 1/e of it."""
    x = points(10, 3, seed=8)
    f = cut(kernel(x, "cosine"), 2.0)
    best = max(f(S) for S in itertools.combinations(range(10), k))
    sealed = choose(x, GraphCut(), k).certificate
    assert sealed is not None
    assert sealed.upper_bound is not None
    assert sealed.upper_bound >= best - 1e-9
    assert GUARANTEE * best <= sealed.value <= best + 1e-9

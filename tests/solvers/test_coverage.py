"""Greedy maximisation of coverage with stored gains."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import greedily

from coreselect.solvers.coverage import maximise
from coreselect.solvers.dense_cover import DenseCover


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 8), st.integers(1, 3), st.integers(0, 10**6))
def test_kept_gains_equal_evaluated_gains(v: int, m: int, top: int, seed: int) -> None:
    """On small whole numbers with many ties, updated gains give the picks of evaluating f, until no gain is left."""
    rng = np.random.default_rng(seed)
    s, w = rng.integers(0, top + 1, (v, m)), rng.integers(0, 4, v)
    picks, gains = greedily(m, m, lambda S: sum(w[i] * max([s[i, j] for j in S], default=0) for i in range(v)), near=0)
    useful = sum(g > 0 for g in gains)
    found = maximise(DenseCover(torch.from_numpy(s).float(), torch.from_numpy(w)), m)
    assert found.picks.tolist() == picks[:useful]
    assert found.gains.tolist() == gains[:useful]
    assert found.value == found.upper == sum(gains)

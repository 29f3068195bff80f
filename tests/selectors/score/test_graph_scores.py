"""D² pruning, CAL and the moderate coreset equal their definitions, written as loops."""

import math
from typing import Any

import cases
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from score_formulas import N, p, ranked, select

from coreselect import Task
from coreselect.selectors import (
    AUM,
    CAL,
    D2,
    EL2N,
    Forgetting,
    Moderate,
)
from coreselect.selectors.score.d2 import pick_and_discount


@pytest.mark.parametrize("centre", ["mean", "median"])
def test_moderate_by_loops(centre: str) -> None:
    """In each class the distances nearest to their median are kept, with shares by largest remainder."""
    task = cases.array_task(N)
    with task.snapshot(0, 0) as snapshot:
        phi, y = snapshot.features().numpy(), snapshot.labels()
    got = select(task, Moderate(centre), 9)  # type: ignore[arg-type]
    want: list[int] = []
    for c in sorted(set(y.tolist())):
        members = [i for i in range(N) if y[i] == c]
        middle = getattr(np, centre)(phi[members], axis=0)
        d = {i: math.dist(phi[i], middle) for i in members}
        off = {i: abs(d[i] - float(np.median(list(d.values())))) for i in members}
        np.testing.assert_allclose(got.scores[members], [off[i] for i in members], atol=1e-12)  # type: ignore[index]
        share = int((y[got.indices] == c).sum())
        assert abs(share - 9 * len(members) / N) < 1
        want += sorted(members, key=off.__getitem__)[:share]
    assert got.indices.tolist() == want


def nearest(phi: Any, i: int, K: int) -> list[int]:
    """Return the K others nearest to i, ties by index."""
    return sorted((j for j in range(len(phi)) if j != i), key=lambda j: (math.dist(phi[i], phi[j]), j))[:K]


def d2_by_loops(s: list[float], phi: Any, K: int, forward: float, reverse: float, k: int) -> tuple[list[int], Any]:
    """Forward messages, then k times the largest and its reverse messages, each found by a full search."""
    n = len(s)
    N_ = [nearest(phi, i, K) for i in range(n)]
    d = [[math.dist(phi[i], phi[j]) for j in range(n)] for i in range(n)]
    u = [s[i] + sum(math.exp(-forward * d[i][j]) * s[j] for j in N_[i]) for i in range(n)]
    first, picks = list(u), []
    for _ in range(k):
        i = max((j for j in range(n) if j not in picks), key=lambda j: (u[j], -j))
        picks.append(i)
        for j in N_[i]:
            u[j] -= math.exp(-reverse * d[i][j]) * u[i] if j not in picks else 0
    return picks, first


@given(
    st.integers(0, 10**6),
    st.integers(1, 12),
    st.integers(1, 14),
    st.sampled_from([0.01, 0.1, 1.0]),
    st.sampled_from([0.3, 1.0]),
)
def test_d2_by_loops(seed: int, n: int, K: int, reverse: float, forward: float) -> None:
    """For any size, graph and reach, the picks, the order of gains and u are those of the loops."""
    rng = np.random.default_rng(seed)
    phi, y = rng.normal(size=(n, 2)), rng.integers(0, 3, n)
    task = Task.from_arrays(features=phi, logits=rng.normal(size=(n, 3)), labels=y)
    s = select(task, EL2N(), 1).scores
    assert s is not None
    k = int(rng.integers(1, n + 1))
    chosen = select(task, D2(neighbours=K, gamma_f=forward, gamma_r=reverse), k)
    picks, u = d2_by_loops(s.tolist(), phi, K, forward, reverse, k)
    np.testing.assert_allclose(chosen.scores, u, rtol=1e-12)
    assert chosen.indices.tolist() == picks


def test_d2_by_hand() -> None:
    """With two twins, a distant example and γ_r = 0: first the harder twin, then the distant example, then the other twin."""
    u, near, r = np.array([3.0, 2.9, 1.0]), np.array([[1], [0], [1]]), np.ones((3, 1))
    picks, gains = pick_and_discount(u, near, r, 3)
    assert picks.tolist() == [0, 2, 1]
    np.testing.assert_allclose(gains, [3.0, 1.0, 2.9 - 3.0 - 1.0])


def test_d2_shifts_scores_below_zero() -> None:
    """With aum, whose hardness may be negative, s is the distance below the largest margin."""
    history = cases.history(N)
    task = cases.array_task(N, history=history)
    with task.snapshot(0, 0) as snapshot:
        phi = snapshot.features().numpy()
    aum = history.at(np.arange(N)).aum
    chosen = select(task, D2(AUM(), neighbours=3), 8)
    picks, u = d2_by_loops((aum.max() - aum if aum.max() > 0 else -aum).tolist(), phi, 3, 1.0, 0.1, 8)
    assert chosen.indices.tolist() == picks
    np.testing.assert_allclose(chosen.scores, u, rtol=1e-12)
    assert len(select(task, D2(Forgetting(), neighbours=3), N)) == N


def test_cal_by_loops() -> None:
    """The mean over the K nearest others of KL(p_j ‖ p_i), to 1e-12; scikit-learn finds the same neighbours."""
    task = cases.array_task(N)
    with task.snapshot(0, 0) as snapshot:
        phi, z = snapshot.features().numpy(), snapshot.logits().tolist()
    P = [p(row) for row in z]
    near = [nearest(phi, i, 4) for i in range(N)]
    want = [
        sum(sum(a * math.log(a / b) for a, b in zip(P[j], P[i], strict=True)) for j in near[i]) / 4 for i in range(N)
    ]
    chosen = select(task, CAL(neighbours=4), 6)
    np.testing.assert_allclose(chosen.scores, want, rtol=1e-12)
    assert chosen.indices.tolist() == ranked(chosen.scores, "highest", 6)
    sklearn = pytest.importorskip("sklearn.neighbors")
    assert sklearn.NearestNeighbors(n_neighbors=5).fit(phi).kneighbors(phi)[1][:, 1:].tolist() == near

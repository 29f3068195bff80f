"""Orthogonal matching pursuit, compared with its transcription and with SciPy."""

import itertools

import numpy as np
import pytest
import torch
from gradient_rows import Array, nonnegative, normal, rows_of, value
from hypothesis import given
from hypothesis import strategies as st

from coreselect.solvers.omp import _ChosenRows, omp


def slow_omp(g: Array, b: Array, k: int, lam: float) -> tuple[list[int], Array]:
    """The algorithm written out: best correlation, refit by normal equations, go back to the first weight that becomes 0."""
    chosen: list[int] = []
    w = np.zeros(0)
    while len(chosen) < k:
        r = b - (w @ g[chosen] if chosen else 0)
        left = [i for i in range(len(g)) if i not in chosen]
        j = max(left, key=lambda i: (g[i] @ r, -i))
        if g[j] @ r <= 1e-10:
            break
        chosen, w = [*chosen, j], np.append(w, 0.0)
        while True:
            a = g[chosen]
            x = np.linalg.solve(a @ a.T + lam * np.eye(len(a)), a @ b)
            if (x > 0).all():
                w = x
                break
            at = [w[i] / (w[i] - x[i]) if w[i] > 0 else 0.0 for i in range(len(x)) if x[i] <= 0]
            w = w + min(at) * (x - w)
            keep = [i for i in range(len(x)) if not (x[i] <= 0 and abs(w[i]) < 1e-14)]
            chosen, w = [chosen[i] for i in keep], w[keep]
    return chosen, np.asarray(w, np.float64)


@given(st.integers(0, 10_000), st.integers(2, 14), st.integers(1, 8), st.sampled_from([0.0, 1e-3, 1.0]), st.data())
def test_omp_is_its_transcription(seed: int, n: int, width: int, lam: float, data: st.DataObject) -> None:
    """Picks, weights and E are those of the slow loop, also if weights become 0 and rows are dropped."""
    k = data.draw(st.integers(1, n))
    g, b = normal(seed, n, width), normal(seed + 1, width)
    found = omp(rows_of(g), torch.from_numpy(b), k, lam=lam)
    order, w = slow_omp(g, b, k, lam)
    assert found.order[: found.matched].tolist() == order
    assert found.weights[: found.matched] == pytest.approx(w, rel=1e-6, abs=1e-9)
    assert found.objective == pytest.approx(value(g[found.order], b, found.weights, lam), abs=1e-9)
    assert sorted({*found.order.tolist()}) == sorted(found.order.tolist())
    assert len(found.order) == k


def test_omp_with_many_drops_is_its_transcription(monkeypatch: pytest.MonkeyPatch) -> None:
    """If weights become 0 and rows leave and come back, the factor stays that of the chosen rows."""
    drops = []
    drop = _ChosenRows._drop
    monkeypatch.setattr(_ChosenRows, "_drop", lambda self, i: (drops.append(len(self.members) - i), drop(self, i)))
    g = normal(0, 400, 40)
    found = omp(rows_of(g), torch.from_numpy(g.mean(0)), 40, lam=0.1)
    order, w = slow_omp(g, g.mean(0), 40, 0.1)
    assert len(drops) >= 5
    assert max(drops) > 3  # not only the latest
    assert found.order.tolist() == order
    assert found.weights == pytest.approx(w, rel=1e-8)


@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1]))
def test_weights_are_the_nonnegative_optimum_on_the_picks(seed: int, lam: float) -> None:
    """SciPy's non-negative least squares on the chosen rows gives the same weights, and on all rows, k = N, the same E."""
    g, b = normal(seed, 12, 7), normal(seed + 1, 7)
    found = omp(rows_of(g), torch.from_numpy(b), 5, lam=lam)
    assert found.weights == pytest.approx(nonnegative(g[found.order], b, lam), abs=1e-8)
    whole = omp(rows_of(g), torch.from_numpy(b), 12, lam=lam)
    assert whole.objective == pytest.approx(value(g, b, nonnegative(g, b, lam), lam), abs=1e-9)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_orthogonal_rows_give_the_best_of_all_subsets(k: int) -> None:
    """For orthonormal rows no set of k has a smaller E; all sets are tried."""
    g = np.linalg.qr(normal(3, 7, 7))[0]
    b = normal(4, 7)
    best = min(
        value(g[list(s)], b, nonnegative(g[list(s)], b, 0.01), 0.01) for s in itertools.combinations(range(7), k)
    )
    assert omp(rows_of(g), torch.from_numpy(b), k, lam=0.01).objective == pytest.approx(best)


def test_no_set_is_better_than_the_best_of_all() -> None:
    """E of the picks is at least the best over all sets, and at most the best of a hundred random sets, for unit rows."""
    g = normal(5, 10, 6)
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    b = g.mean(0)
    found = omp(rows_of(g), torch.from_numpy(b), 3)
    sets = [list(s) for s in itertools.combinations(range(10), 3)]
    all_of_them = [value(g[s], b, nonnegative(g[s], b, 0.0), 0.0) for s in sets]
    assert min(all_of_them) - 1e-12 <= found.objective <= np.median(all_of_them)


def test_what_matching_leaves_open_is_completed_by_correlation() -> None:
    """A target that is a sum of two rows takes two picks; the others follow by correlation with weight 0, lowest index first."""
    g = np.array([[0.0, -1.0], [2.0, 0.0], [0.0, -1.0], [0.0, 3.0], [1.0, 0.0]])
    found = omp(rows_of(g), torch.tensor([4.0, 3.0], dtype=torch.float64), 5)
    assert found.matched == 2
    assert found.order.tolist() == [3, 1, 0, 2, 4]  # ⟨g, b⟩ = −3, 8, −3, 9, 4; then ⟨g, 0⟩
    assert found.weights == pytest.approx([1.0, 2.0, 0.0, 0.0, 0.0])
    assert found.correlations == pytest.approx([9.0, 8.0, 0.0, 0.0, 0.0], abs=1e-12)
    assert found.residual == pytest.approx(0, abs=1e-12)


def test_equal_rows_are_taken_in_order_and_once() -> None:
    """Of equal rows the lowest index is picked, also in float32, and without ridge its copies add nothing."""
    g = np.repeat(normal(6, 4, 9), 5, axis=0)
    for dtype in (torch.float32, torch.float64):
        found = omp(rows_of(g, dtype), torch.from_numpy(g.mean(0)), 20)
        assert sorted(found.order[: found.matched].tolist()) == [0, 5, 10, 15]
        assert sorted(found.order.tolist()) == list(range(20))


def test_ridge_shares_the_weight_among_equal_rows() -> None:
    """With λ > 0 copies lower E: three equal rows have the same weight, w = (3 + λ/‖g‖²)⁻¹·⟨g, b⟩/‖g‖²."""
    g = np.repeat(np.array([[1.0, 2.0]]), 3, axis=0)
    found = omp(rows_of(g), torch.tensor([1.0, 2.0], dtype=torch.float64), 3, lam=0.5)
    assert found.order.tolist() == [0, 1, 2]
    assert found.weights == pytest.approx(np.full(3, 1 / 3.1))

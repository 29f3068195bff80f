"""Drawing with probabilities: exactly k, known probabilities, unbiased means."""

from collections import Counter
from typing import Any

import cases
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coreselect import select
from coreselect.errors import RequirementError, ShapeError
from coreselect.gradients.rows import DenseRows
from coreselect.selectors import RCSSampled
from coreselect.selectors.sampling.inclusion import systematic_sample
from coreselect.selectors.sampling.rcs_sampled import probabilities

gains_of = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40)


@given(gains_of, st.data(), st.floats(0, 0.99), st.floats(0.01, 10))
def test_probabilities_sum_to_k_and_rise_with_the_gain(
    gains: list[float], data: st.DataObject, alpha: float, temperature: float
) -> None:
    """π lies in (0, 1], sums to k, never falls with the gain, and every weight is at most about 1 / (1 − α)."""
    g = np.array(gains)
    k = data.draw(st.integers(1, len(g)))
    pi = probabilities(g, k, alpha, temperature)
    assert pi.sum() == pytest.approx(k, rel=1e-9)
    assert (pi > 0).all()
    assert (pi <= 1).all()
    order = np.argsort(g, kind="stable")
    assert (np.diff(pi[order]) >= -1e-12).all()
    assert (k / (len(g) * pi)).max() <= 1 / (1 - alpha) * (1 + 1e-9) or (pi == 1).any()


def test_equal_gains_are_drawn_uniformly() -> None:
    """Constant gains, or α = 0, give π = k/N for all."""
    assert probabilities(np.full(8, 3.0), 3, 0.7, 1.0) == pytest.approx(np.full(8, 3 / 8))
    assert probabilities(np.arange(8.0), 3, 0.0, 1.0) == pytest.approx(np.full(8, 3 / 8))


def test_certain_picks_are_certain() -> None:
    """An example whose share would be above 1 gets π = 1, and the others share the rest."""
    pi = probabilities(np.array([0.0] * 9 + [1000.0]), 5, 0.99, 0.1)
    assert pi[-1] == 1
    assert pi[:-1] == pytest.approx(np.full(9, 4 / 9))


@given(st.integers(1, 60), st.data(), st.integers(0, 999))
def test_a_draw_is_exactly_k_unique_positions(n: int, data: st.DataObject, seed: int) -> None:
    """For any π, systematic sampling gives exactly k positions without repetition."""
    k = data.draw(st.integers(1, n))
    gains = np.random.default_rng(seed).standard_cauchy(n)
    pi = probabilities(gains, k, 0.95, 0.2)
    picks = systematic_sample(pi, torch.Generator().manual_seed(seed))
    assert len(picks) == len(set(picks.tolist())) == k
    assert set(np.flatnonzero(pi >= 1)) <= set(picks.tolist())


def test_frequencies_are_the_stated_probabilities() -> None:
    """Over 20,000 draws each position is drawn with frequency π, within five standard deviations."""
    pi = probabilities(np.random.default_rng(0).normal(size=12), 4, 0.8, 0.7)
    own, draws = torch.Generator().manual_seed(1), 20000
    counts = Counter(i for _ in range(draws) for i in systematic_sample(pi, own).tolist())
    for i in range(12):
        spread = (pi[i] * (1 - pi[i]) / draws) ** 0.5
        assert abs(counts[i] / draws - pi[i]) <= 5 * spread + 1e-12


def test_the_weighted_mean_is_unbiased() -> None:
    """Over 300 rounds the mean of (1/k) Σ weight·value equals the pool's mean value, within five standard errors."""
    task = cases.array_task(30)
    values = np.random.default_rng(5).normal(3, 2, 30)
    selector = RCSSampled(alpha=0.9, temperature=0.5)
    got = []
    for r in range(300):
        chosen = select(task, selector, 6, 0, round=r)
        assert chosen.weights is not None
        got.append((chosen.weights * values[chosen.indices]).sum() / 6)
    assert abs(np.mean(got) - values.mean()) < 5 * np.std(got) / len(got) ** 0.5
    plain = np.mean([values[select(task, selector, 6, 0, round=r).indices].mean() for r in range(50)])
    assert np.isfinite(plain)


def test_gains_are_inner_products_at_theta() -> None:
    """Scores are ⟨row, query⟩ of every example, and gains those of the picks."""
    task = cases.array_task(20)
    chosen = select(task, RCSSampled(), 5)
    want = task.gradients @ task.validation_gradient
    assert chosen.scores == pytest.approx(want)
    assert chosen.gains == pytest.approx(want[chosen.indices])


def test_rounds_draw_anew() -> None:
    """Another round gives another draw; the same round gives the same draw."""
    task = cases.array_task(40)
    draws = [select(task, RCSSampled(), 8, 0, round=r).indices.tolist() for r in (0, 1, 0)]
    assert draws[0] == draws[2] != draws[1]


def test_batch_losses_are_refused() -> None:
    """Under NT-Xent single examples have no gradient: an error of one sentence."""
    with pytest.raises(RequirementError, match="single examples"):
        select(cases.acl_task(20), RCSSampled(objective=cases.RD_WEAK), 5)


def test_rows_of_a_whole_model_are_sketched(monkeypatch: pytest.MonkeyPatch) -> None:
    """With capture='all' there is never a matrix as wide as the model: rows are sketched during the sweep."""
    widths = []
    made = DenseRows.__init__

    def watch(self: DenseRows, matrix: torch.Tensor, *args: object, **more: object) -> None:
        widths.append(matrix.shape[1])
        made(self, matrix, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(DenseRows, "__init__", watch)
    task = cases.sat_task(6, u=3, capture="all", model=cases.built(lambda: cases.ConvNet(width=300)))  # P = 8404
    assert len(select(task, RCSSampled(objective=cases.RD_WEAK), 3)) == 3
    assert max(widths) <= 4096


@pytest.mark.parametrize("settings", [{"alpha": 1.0}, {"alpha": -0.1}, {"temperature": 0.0}, {"alpha": float("nan")}])
def test_impossible_settings_are_refused(settings: Any) -> None:
    """α outside [0, 1) and τ ≤ 0 raise errors."""
    with pytest.raises(ShapeError):
        RCSSampled(**settings)

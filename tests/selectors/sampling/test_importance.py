"""Claims about drawing by what training has seen: stated probabilities, bounded weights, unbiased means, no pass of a model."""

from fractions import Fraction
from itertools import combinations
from typing import Any

import cases
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coreselect import CoresetSampler, Task, select
from coreselect.errors import RequirementError, ScheduleError, ShapeError, UnknownNameError
from coreselect.history import History
from coreselect.selectors import Importance, Mixture, PerClass, Redraw
from coreselect.selectors.sampling.importance import inclusion

N = 24


def of_losses(losses: Any) -> Any:
    """A task that has nothing but a history of losses."""
    values = torch.as_tensor(losses, dtype=torch.float64)
    history = History(len(values))
    history.record_losses(range(len(values)), values)
    return Task.from_arrays(features=np.zeros((len(values), 1)), history=history)


def by_subsets(s: list[int], k: int, alpha: Fraction) -> list[Fraction]:
    """π in fractions: the smallest set taken for certain that leaves the others, proportional to p, at 1 or below."""
    n, total = len(s), sum(s)
    p = [(1 - alpha) * Fraction(1, n) + (alpha * Fraction(v, total) if total else alpha * Fraction(1, n)) for v in s]
    for size in range(k + 1):
        for sure in combinations(range(n), size):
            rest = [i for i in range(n) if i not in sure]
            left = sum((p[i] for i in rest), Fraction(0))
            pi = [Fraction(1)] * n
            for i in rest:
                pi[i] = (k - size) * p[i] / left
            if all(v <= 1 for v in pi) and all(p[i] >= max((p[j] for j in rest), default=Fraction(0)) for i in sure):
                return pi
    raise AssertionError("there is always one")


@given(st.lists(st.integers(0, 50), min_size=1, max_size=7), st.data(), st.sampled_from([0, 1, 5, 9]))
def test_probabilities_equal_an_exhaustive_search_in_fractions(s: list[int], data: st.DataObject, tenths: int) -> None:
    """π of any scores, zeros and ties included, equals the exact π to 1e-12; it sums to k and weights are at most 1/(1 − α)."""
    k = data.draw(st.integers(1, len(s)))
    pi = inclusion(np.array(s, dtype=np.float64), k, tenths / 10)
    want = by_subsets(s, k, Fraction(tenths, 10))
    np.testing.assert_allclose(pi, [float(v) for v in want], rtol=1e-12)
    assert pi.sum() == pytest.approx(k, rel=1e-12)
    assert (k / (len(s) * pi)).max() <= 1 / (1 - tenths / 10) * (1 + 1e-12)


def test_by_hand() -> None:
    """Losses 0, 1, 3 at α = ½, k = 1: π = 1/6, 7/24, 13/24, so weights 2, 8/7, 8/13."""
    assert inclusion(np.array([0.0, 1, 3]), 1, 0.5) == pytest.approx([1 / 6, 7 / 24, 13 / 24], rel=1e-14)
    task, seen = of_losses([0.0, 1, 3]), {}
    for r in range(30):
        chosen = select(task, Importance(), 1, round=r)
        assert chosen.weights is not None
        seen[int(chosen.indices[0])] = chosen.weights[0]
    assert [seen[i] for i in range(3)] == pytest.approx([2, 8 / 7, 8 / 13])


@pytest.mark.parametrize("scores", [np.zeros(5), np.full(5, 1e308), np.full(5, 5e-324)])
def test_equal_scores_of_any_size_are_drawn_uniformly(scores: Any) -> None:
    """All zero, all the largest or all the smallest numbers: π = k/N."""
    assert inclusion(scores, 2, 0.5) == pytest.approx(np.full(5, 0.4))


def test_scores_are_those_of_the_last_time() -> None:
    """auto: ‖p − e_y‖₂ where there are logits; loss when asked for, or where there is nothing else. Notes say so."""
    history = cases.history(N)
    record = history.at(np.arange(N))
    task = cases.array_task(N, history=history)
    for selector, want, what in (
        (Importance(), record.last_el2n, "‖p − e_y‖₂"),
        (Importance("el2n"), record.last_el2n, "‖p − e_y‖₂"),
        (Importance("loss"), record.loss, "loss"),
    ):
        chosen = select(task, selector, 5)
        assert chosen.scores is not None
        assert chosen.scores.tolist() == want.tolist()
        assert f"drawn by the last {what} of each example in training" in chosen.provenance.notes
    assert "the history is of attacked inputs" in select(task, Importance(), 5).provenance.notes
    losses = np.random.default_rng(0).random(N)
    for selector in (Importance(), Importance("loss")):
        scores = select(of_losses(losses), selector, 5).scores
        assert scores is not None
        assert scores.tolist() == losses.tolist()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
def test_the_weighted_mean_is_unbiased(alpha: float) -> None:
    """Over 400 rounds the mean of (1/k) Σ weight·value is the pool's mean value, within five standard errors; always exactly k."""
    rng = np.random.default_rng(1)
    losses = rng.exponential(size=30)
    values, task, got = losses + rng.normal(3, 1, 30), of_losses(losses), []
    for r in range(400):
        chosen = select(task, Importance(alpha=alpha), 6, round=r)
        assert chosen.weights is not None
        assert len(set(chosen.indices.tolist())) == 6
        assert chosen.weights.max() <= 1 / (1 - alpha) * (1 + 1e-9)
        got.append((chosen.weights * values[chosen.indices]).sum() / 6)
    assert abs(np.mean(got) - values.mean()) < 5 * np.std(got) / len(got) ** 0.5


def test_a_draw_is_a_function_of_seed_and_round() -> None:
    """Same seed and round, same draw; another of either, another."""
    task = cases.array_task(N, history=cases.history(N))
    draws = [select(task, Importance(), 8, s, round=r).indices.tolist() for s, r in ((0, 0), (0, 1), (1, 0), (0, 0))]
    assert draws[0] == draws[3]
    assert draws[0] != draws[1] != draws[2] != draws[0]


def test_no_pass_of_the_model_and_no_sweep_of_the_pool() -> None:
    """A model and a pool that fail when they are read are never read, beyond the labels and items of the fingerprint."""
    pool = cases.Failing(cases.images(N), cases.classes(N), at=5)
    model = cases.built(cases.ConvNet)
    task = cases.sat_task(N, model=model, pool=pool, history=cases.history(N))
    want = select(task, Importance(), 6).indices.tolist()

    def broken(*args: Any) -> None:
        raise cases.Broken("forward")

    pool.armed = True
    handle = model.register_forward_pre_hook(broken)
    assert select(task, Importance(), 6).indices.tolist() == want
    handle.remove()


def test_a_sampler_draws_every_epoch_from_what_the_history_holds_by_then() -> None:
    """After the warm-up each epoch is a new draw, its scores are those of the epoch before, its weights reach the loss."""
    history = History(N)
    task = Task.from_arrays(features=np.zeros((N, 1)), history=history)
    sampler = CoresetSampler(task, Importance(), 6, warmup=1, every=10)
    draws = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        seen = list(sampler)
        assert len(seen) == (N if epoch == 0 else 6)
        if epoch:
            chosen = sampler.selection
            assert chosen is not None
            assert chosen.weights is not None
            assert chosen.scores is not None
            assert chosen.scores.tolist() == history.at(np.arange(N)).loss.tolist()
            assert chosen.provenance.round == epoch - 1
            w = sampler.weights(torch.tensor(chosen.indices))
            np.testing.assert_allclose(w, chosen.weights / chosen.weights.mean(), rtol=1e-6)
            assert len(set(w.tolist())) > 1
            draws.append(sorted(seen))
            with pytest.raises(ScheduleError):
                sampler.weights(torch.tensor([i for i in range(N) if i not in seen]))
        history.record_losses(seen, torch.tensor([float(i + epoch) for i in seen]))
    assert draws[0] != draws[1] != draws[2]


def test_inside_combinators() -> None:
    """Class by class, and beside plain draws, it meets the budget from the same history."""
    task = cases.array_task(N, history=cases.history(N))
    for selector in (PerClass(Importance()), Mixture((Importance(), Redraw()))):
        assert selector.requires >= {"losses"}
        assert selector.renew == "epoch"
        assert len(select(task, selector, 9)) == 9


def test_refusals() -> None:
    """No history, an empty one, examples that were never seen, logits that are not there, negative losses: one sentence each."""
    part = History(N)
    part.record_losses(range(1, N), torch.ones(N - 1))
    for make, selector, match in (
        (lambda: cases.array_task(N), Importance(), "'importance' needs losses, and this task has none"),
        (lambda: cases.array_task(N, history=History(N)), Importance(), f"recorded nothing of {N} examples"),
        (lambda: cases.array_task(N, history=part), Importance(), r"no losses of 1 examples \(positions 0\)"),
        (
            lambda: of_losses(range(N)),
            Importance("el2n"),
            "needs history, and this task has none: give a history in which training",
        ),
        (
            lambda: of_losses([1.0, -0.25, 3]),
            Importance(),
            r"of 1 examples are negative \(positions 1\), the least -0.25",
        ),
    ):
        with pytest.raises(RequirementError, match=match) as caught:
            select(make(), selector, 2)
        assert str(caught.value).count("\n") == 0


def test_impossible_settings_are_refused() -> None:
    """α outside [0, 1), and a score by another name."""
    for alpha in (1.0, -0.1, float("nan")):
        with pytest.raises(ShapeError, match="alpha"):
            Importance(alpha=alpha)
    with pytest.raises(UnknownNameError, match="'grand'"):
        Importance("grand")  # type: ignore[arg-type]

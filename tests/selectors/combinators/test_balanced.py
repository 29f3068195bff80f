"""Equal and given shares of classes and clusters."""

import io
from collections import Counter
from math import lcm
from typing import Any

import cases
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from coreselect import CoresetSampler, Task, select
from coreselect.budget import fill, levels
from coreselect.errors import BudgetError, RequirementError, ScheduleError, ShapeError
from coreselect.protocols import Selector
from coreselect.selectors import RS2, Filtered, PerClass, Random, Redraw
from coreselect.selectors.combinators.per_class import balanced
from coreselect.support.turns import turns

Y = np.repeat([0, 1, 2], [60, 25, 5])


def by_hand(k: int, sizes: list[int], shares: list[float]) -> list[float]:
    """The level of the water by bisection: min(n_s, r·share_s) that sum to k."""
    low, high = 0.0, 1e9
    for _ in range(300):
        r = (low + high) / 2
        low, high = (r, high) if sum(min(n, r * s) for n, s in zip(sizes, shares, strict=True)) < k else (low, r)
    return [min(n, high * s) for n, s in zip(sizes, shares, strict=True)]


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from([0.0, 0.25, 1.0, 3.0])), min_size=1, max_size=6), st.data()
)
def test_counts_are_the_level_of_the_water(parts: list[tuple[int, float]], data: st.DataObject) -> None:
    """They sum to k, are no larger than the parts, and are within one of the level found by bisection."""
    sizes, shares = [n for n, _ in parts], [s for _, s in parts]
    k = data.draw(st.integers(0, sum(n for n, s in parts if s)))
    counts = fill(k, sizes, shares)
    assert sum(counts) == k
    assert all(c <= n for c, n in zip(counts, sizes, strict=True))
    assert all(abs(c - w) < 1 + 1e-6 for c, w in zip(counts, by_hand(k, sizes, shares), strict=True))


def test_shares_that_cannot_be_met_are_refused() -> None:
    """Too few, negative or infinite shares, and a budget that only parts of share 0 could give."""
    for shares in ([1.0], [1.0, -1.0], [1.0, float("inf")], [1.0, float("nan")]):
        with pytest.raises(BudgetError, match="as many shares"):
            fill(3, [4, 4], shares)
    with pytest.raises(BudgetError, match="hold 4 examples, and the budget is 5"):
        fill(5, [4, 4], [1, 0])


@pytest.mark.parametrize("inner", [Random(), Redraw(), RS2()])
def test_classes_have_equal_counts_until_they_are_used_up(inner: Random | Redraw | RS2) -> None:
    """Five of the small class, and the rest in halves; with 12 picks four of each."""
    task = Task.from_arrays(labels=Y)
    for k, want in ((45, [20, 20, 5]), (12, [4, 4, 4]), (90, [60, 25, 5])):
        chosen = select(task, PerClass(inner, shares="equal"), k, 3, round=2)
        assert np.bincount(Y[chosen.indices], minlength=3).tolist() == want
        assert len(set(chosen.indices.tolist())) == k


def test_a_balanced_rs2_repeats_nothing_inside_a_class_until_it_is_used_up() -> None:
    """In any window of draws the counts inside a class differ by one at most at the ends of its permutations."""
    task, selector = Task.from_arrays(labels=Y), PerClass(RS2(), shares="equal")
    seen: Counter[int] = Counter()
    for epoch in range(10):
        seen.update(select(task, selector, 12, 1, round=epoch).indices.tolist())
        for c in range(3):
            counts = [seen[int(i)] for i in np.flatnonzero(c == Y)]
            assert max(counts) - min(counts) <= 2 - (sum(counts) % len(counts) == 0)


@pytest.mark.parametrize(("k", "shares"), [(7, "equal"), (30, "equal"), (7, "pool"), (31, "pool"), (5, (3, 1) * 20)])
@pytest.mark.parametrize("inner", [Redraw(), RS2()])
def test_over_the_rounds_every_class_gets_its_exact_share(inner: Selector, k: int, shares: Any) -> None:
    """A budget below or beside the number of classes is met in every round, and is divided exactly over as many as it takes."""
    sizes = np.tile([1, 3, 6, 10], 10)
    y = np.repeat(np.arange(40), sizes)
    quotas = levels(k, sizes.tolist(), None if shares == "equal" else sizes.tolist() if shares == "pool" else shares)
    task, selector = Task.from_arrays(labels=y), PerClass(inner, shares=shares)
    rounds = lcm(*(q.denominator for q in quotas))
    had = np.zeros(len(y), int)
    for r in range(rounds):
        picks = select(task, selector, k, 3, round=r).indices
        assert len(set(picks.tolist())) == k
        counts = np.bincount(y[picks], minlength=40)
        assert all(int(q) <= c <= -(-q // 1) for q, c in zip(quotas, counts.tolist(), strict=True))
        had[picks] += 1
        if inner.name == "rs2":  # nothing comes again before its class is used up
            assert all(np.ptp(had[y == c]) <= 2 - (had[y == c].sum() % sizes[c] == 0) for c in range(40))
    assert [int(had[y == c].sum()) for c in range(40)] == [q * rounds for q in quotas]


def test_the_picks_of_a_round_do_not_depend_on_the_rounds_before() -> None:
    """Round 5 of a balanced draw is the same when asked for first and last."""
    task, selector = Task.from_arrays(labels=Y), PerClass(RS2(), shares="equal")
    turns.cache_clear()
    first = select(task, selector, 7, 1, round=5).indices.tolist()
    for r in (9, 0, 3):
        select(task, selector, 7, 1, round=r)
    assert select(task, selector, 7, 1, round=5).indices.tolist() == first


def test_a_method_that_never_renews_notes_the_classes_that_it_leaves_out() -> None:
    """Two of three classes get none of one pick, which is said; a method that renews, and a class of share 0, say nothing."""
    task = Task.from_arrays(labels=Y)
    chosen = select(task, PerClass(Random(), shares="equal"), 1, round=2)
    assert "2 classes get no pick of a budget of 1: raise it" in chosen.provenance.notes
    assert Y[chosen.indices].tolist() == [0]
    for selector, k in ((PerClass(Redraw(), shares="equal"), 1), (PerClass(Random(), shares=(1, 1, 0)), 2)):
        assert not any("no pick" in note for note in select(task, selector, k).provenance.notes)


def test_weights_of_rare_picks_bring_back_the_shares_of_the_pool_over_the_rounds() -> None:
    """With one pick of three classes a round, the weights of three rounds sum to each class's share of the pool."""
    total = np.zeros(3)
    for r in range(3):
        chosen = select(Task.from_arrays(labels=Y), PerClass(Redraw(), shares="equal", weighted=True), 1, round=r)
        total += np.bincount(Y[chosen.indices], chosen.weights, minlength=3) / 3
    assert np.allclose(total, [60 / 90, 25 / 90, 5 / 90])


@pytest.mark.parametrize("around", [lambda s: s, lambda s: Filtered(s, keep=1.0, losses=np.zeros(len(Y)))])
@pytest.mark.parametrize("budget", [1, 2, 3, 9])
def test_weights_in_a_loop_keep_the_mean_loss_of_the_pool_over_the_rounds(budget: int, around: Any) -> None:
    """Also where a class has no pick in some rounds: `sampler.weights` then has mean 1 over the rounds, not in each."""
    losses = np.array([1.0, 5.0, 20.0])[Y]
    sampler = CoresetSampler(
        Task.from_arrays(labels=Y), around(PerClass(RS2(), shares="equal", weighted=True)), budget, warmup=0
    )
    means = []
    for epoch in range(45):
        sampler.set_epoch(epoch)
        picks = torch.tensor(list(sampler))
        means.append(float((sampler.weights(picks).numpy() * losses[picks]).mean()))
    assert np.mean(means) == pytest.approx(losses.mean())


def test_given_shares_are_those_of_the_classes_in_ascending_order() -> None:
    """Half of class 0, a quarter of each other."""
    chosen = select(Task.from_arrays(labels=Y), PerClass(Redraw(), shares=(2, 1, 1)), 16)
    assert np.bincount(Y[chosen.indices]).tolist() == [8, 4, 4]
    with pytest.raises(BudgetError, match="3 parts need as many shares"):
        select(Task.from_arrays(labels=Y), PerClass(Redraw(), shares=(1, 1)), 16)
    with pytest.raises(ShapeError, match="shares are 'pool', 'equal'"):
        PerClass(Redraw(), shares="fair")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="by is"):
        PerClass(Redraw(), by="colours")  # type: ignore[arg-type]
    for clusters in (0, 2.5, True):
        with pytest.raises(ShapeError, match="clusters must be a whole number"):
            PerClass(Redraw(), clusters=clusters)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="balance is"):
        balanced(Redraw(), "label")


def test_weights_bring_back_the_shares_of_the_pool() -> None:
    """The weighted share of each class among the picks is its share of the pool, and the mean weight is 1."""
    chosen = select(Task.from_arrays(labels=Y), PerClass(Redraw(), shares="equal", weighted=True), 45)
    assert chosen.weights is not None
    assert np.allclose(np.bincount(Y[chosen.indices], chosen.weights) / 45, [60 / 90, 25 / 90, 5 / 90])
    assert chosen.weights.mean() == pytest.approx(1)


def test_clusters_balance_without_labels() -> None:
    """Two far clouds of 40 and 4 points give 4 each of 8 picks; labels are not needed."""
    x = np.concatenate([np.random.default_rng(0).normal(0, 0.1, (40, 3)), np.full((4, 3), 9.0) + np.eye(4, 3)])
    chosen = select(Task.from_arrays(features=x), PerClass(RS2(), by="clusters", shares="equal", clusters=2), 8)
    assert sum(i >= 40 for i in chosen.indices) == 4
    with pytest.raises(RequirementError, match="features"):
        select(Task.from_arrays(labels=Y), PerClass(RS2(), by="clusters", shares="equal"), 8)


class TestKeptClusters:
    """In a sampler the clusters of a method that renews every epoch are those of the round."""

    @staticmethod
    def sampler(task: Task) -> CoresetSampler:
        return CoresetSampler(task, balanced(RS2(), "clusters"), 8, warmup=1, every=3)

    @staticmethod
    def change(model: nn.Module, by: float) -> None:
        with torch.no_grad():
            for p in model.parameters():
                p.mul_(by).add_(torch.linspace(-by, by, p.numel()).view_as(p))

    def test_they_are_computed_once_a_round(self) -> None:
        """The features are read in the first epoch of a round only, although the model changes every epoch."""
        task = cases.sat_task(30)
        s = self.sampler(task)
        computed = []
        for epoch in range(8):
            s.set_epoch(epoch)
            computed.append({name: a.tobytes() for name, a in s.kept.arrays.items()})
            self.change(task.model, 1.5)
        assert computed[0] == {}
        assert computed[1] == computed[2] == computed[3]
        assert computed[4] == computed[5] == computed[6]
        assert len({str(c) for c in (computed[1], computed[4], computed[7])}) == 3

    @pytest.mark.parametrize("stop", range(7))
    def test_a_resumed_run_keeps_them(self, stop: int) -> None:
        """A run that stops in any epoch sees what an uninterrupted run sees, and the state is safe to load."""
        whole, again = [], []
        for out, at in ((whole, None), (again, stop)):
            task = cases.sat_task(30)
            s = self.sampler(task)
            for epoch in range(7):
                s.set_epoch(epoch)
                out.append(list(s))
                if epoch == at:
                    box = io.BytesIO()
                    torch.save(s.state_dict(), box)
                    box.seek(0)
                    s = self.sampler(task)
                    s.load_state_dict(torch.load(box, weights_only=True))
                self.change(task.model, 1.2)
        assert whole == again

    def test_a_damaged_state_is_refused(self) -> None:
        """Arrays of another length or type, and a round that is no number, are one sentence; states without them are read."""
        s = self.sampler(cases.sat_task(30))
        s.set_epoch(1)
        state = s.state_dict()
        name = next(iter(state["kept"]["arrays"]))
        for bad in (
            {"interval": 0, "arrays": {name: torch.zeros(29, dtype=torch.int64)}},
            {"interval": 0, "arrays": {name: torch.zeros(30)}},
            {"interval": None, "arrays": {name: torch.zeros(30, dtype=torch.int64)}},
            {"arrays": [1]},
            [],
        ):
            with pytest.raises(ScheduleError, match="keeps for the selector is damaged"):
                self.sampler(cases.sat_task(30)).load_state_dict({**state, "kept": bad})
        old = {key: value for key, value in state.items() if key != "kept"}
        self.sampler(cases.sat_task(30)).load_state_dict(old)

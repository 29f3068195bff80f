"""Uniform draws."""

from collections import Counter
from fractions import Fraction
from typing import Any

import cases
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreselect import select
from coreselect.selectors import RS2, Random, Redraw
from coreselect.selectors.sampling import uniform
from coreselect.selectors.sampling.uniform import permutation, walk
from coreselect.support.turns import Steady, turns


@given(st.integers(1, 40), st.data())
def test_rs2_equals_dealing_card_by_card(n: int, data: st.DataObject) -> None:
    """Every draw equals the element-by-element simulation, at any k and round."""
    k, rounds, seed = data.draw(st.integers(1, n)), data.draw(st.integers(1, 12)), data.draw(st.integers(0, 99))
    want = oracles.rs2_draws([k] * rounds, lambda cycle: permutation(n, seed, "rs2", cycle).tolist())
    for r in range(rounds):
        assert walk(n, Steady(k), seed, r).tolist() == want[r]


@given(st.integers(1, 40), st.data())
def test_rs2_draws_do_not_depend_on_what_was_drawn_before(n: int, data: st.DataObject) -> None:
    """Any rounds in any order, of two walks in turn, are those of the simulation; what is kept of a walk does not show."""
    k, seed = data.draw(st.integers(1, n)), data.draw(st.integers(0, 99))
    want = {
        s: oracles.rs2_draws([k] * 40, lambda c, s=s: permutation(n, s, "rs2", c).tolist()) for s in (seed, seed + 1)
    }
    for r in data.draw(st.lists(st.integers(0, 39), max_size=8)):
        for s, draws in want.items():
            one = walk(n, Steady(k), s, r)
            assert one.tolist() == draws[r]
            one[:] = -1  # a draw is its own array


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.data())
def test_rs2_with_varying_counts_equals_dealing_card_by_card(sizes: list[int], data: st.DataObject) -> None:
    """With shares that are no whole numbers, any rounds in any order are those of the simulation with the counts of each."""
    k, seed = data.draw(st.integers(1, sum(sizes))), data.draw(st.integers(0, 99))
    shares = turns(tuple(Fraction(k * n, sum(sizes)) for n in sizes))
    for part, n in enumerate(sizes):
        want = oracles.rs2_draws(
            [shares.counts(r)[part] for r in range(40)], lambda c, n=n: permutation(n, seed, "rs2", c).tolist()
        )
        for r in data.draw(st.lists(st.integers(0, 39), max_size=8)):
            if want[r]:
                assert walk(n, shares.of(part), seed, r).tolist() == want[r]


def test_a_late_epoch_of_rs2_makes_few_permutations(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first call at epoch 5,000 makes two permutations, those of the next 9 epochs one more at most."""
    made: list[int] = []

    def counted(n: int, seed: int, purpose: str, number: int) -> Any:
        made.append(number)
        return permutation(n, seed, purpose, number)

    monkeypatch.setattr(uniform, "permutation", counted)
    walk(1000, Steady(100), 77, 5003)
    assert len(made) <= 2
    for r in range(5004, 5013):
        walk(1000, Steady(100), 77, r)
    assert len(made) <= 3
    walk(1000, Steady(900), 77, 5003)  # draws of more than half depend on the permutation before
    made.clear()
    walk(1000, Steady(900), 77, 5004)
    assert len(made) <= 2


@pytest.mark.parametrize(("n", "k"), [(12, 3), (12, 5), (12, 7), (12, 11), (12, 12), (13, 1), (7, 4)])
def test_rs2_repeats_nothing_before_the_pool_is_used_up(n: int, k: int) -> None:
    """For every k, also above N/2 and equal to N, counts of draws differ by at most one at the end of a cycle."""
    seen: list[int] = []
    for r in range(25):
        one = walk(n, Steady(k), 3, r).tolist()
        assert len(set(one)) == k
        counts = Counter(seen)
        lowest = min(counts[i] for i in range(n))
        # whoever is drawn again has been drawn no more often than the least drawn, plus the one cycle that is ending
        assert all(counts[i] <= lowest + 1 for i in one)
        seen += one
    counts = Counter(seen)
    assert max(counts.values()) - min(counts[i] for i in range(n)) <= 2


@pytest.mark.parametrize(("n", "k"), [(12, 3), (12, 4), (20, 5)])
def test_rs2_covers_the_pool_exactly_once_a_cycle(n: int, k: int) -> None:
    """If k divides N, N/k draws have every example exactly once, in every cycle."""
    for cycle in range(3):
        held = np.concatenate([walk(n, Steady(k), 0, r) for r in range(cycle * n // k, (cycle + 1) * n // k)])
        assert sorted(held.tolist()) == list(range(n))


def test_rs2_cycles_are_shuffled_anew() -> None:
    """The second cycle is another permutation than the first."""
    first, second = (np.concatenate([walk(12, Steady(3), 0, r) for r in range(c, c + 4)]) for c in (0, 4))
    assert first.tolist() != second.tolist()


def test_random_is_drawn_once_and_redraw_every_round() -> None:
    """random gives the same subset in every round, redraw another one; another seed changes both."""
    task = cases.array_task(40)
    fixed = [select(task, Random(), 10, 1, round=r).indices.tolist() for r in range(3)]
    assert fixed[0] == fixed[1] == fixed[2]
    anew = [select(task, Redraw(), 10, 1, round=r).indices.tolist() for r in range(3)]
    assert anew[0] != anew[1] != anew[2]
    assert select(task, Random(), 10, 2).indices.tolist() != fixed[0]
    assert (Random().renew, Redraw().renew, RS2().renew) == ("never", "round", "epoch")


def test_draws_are_nested() -> None:
    """A larger budget with the same seed begins with the smaller one's picks."""
    task = cases.array_task(40)
    for selector in (Random(), Redraw(), RS2()):
        small, large = (select(task, selector, k, 4) for k in (7, 20))
        assert large.indices[:7].tolist() == small.indices.tolist()
        assert small.nested


@pytest.mark.parametrize("make", [Random, Redraw, RS2])
def test_every_example_is_as_likely(make: type) -> None:
    """Over 2,000 seeds each of 10 examples is among 3 picks 600 times, within four standard deviations."""
    counts = np.zeros(10)
    for seed in range(2000):
        rounds = 0 if make is Random else 5
        picks = walk(10, Steady(3), seed, rounds) if make is RS2 else permutation(10, seed, make.name, rounds)[:3]  # type: ignore[attr-defined]
        counts[picks] += 1
    assert abs(counts - 600).max() < 4 * (2000 * 0.3 * 0.7) ** 0.5

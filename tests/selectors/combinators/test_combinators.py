"""Selectors that contain other selectors."""

import itertools
from typing import Any

import cases
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from coreselect import select
from coreselect.errors import RequirementError, ShapeError
from coreselect.selectors import RS2, Mixture, PerClass, Random, RCSSampled, Redraw, Windowed
from coreselect.selectors.combinators.joined import joined
from coreselect.selectors.combinators.windowed import in_windows, windows
from coreselect.support.seeding import generator


def windows_of(chosen: Any, task: Any, window: int) -> list[int]:
    """Return how many picks each window has, in the order of the windows."""
    order = torch.randperm(task.n, generator=generator(chosen.provenance.seed, "windows", chosen.provenance.round))
    place = {int(i): j // window for j, i in enumerate(order)}
    counts = [0] * -(-task.n // window)
    for i in chosen.indices:
        counts[place[int(i)]] += 1
    return counts


@given(st.integers(1, 60), st.data(), st.integers(0, 9))
def test_a_windowed_budget_is_exact_and_its_remainder_carried(n: int, data: st.DataObject, seed: int) -> None:
    """After each window ⌊k·(examples so far)/N⌋ are chosen, and k at the end."""
    window, k = data.draw(st.integers(1, 70)), data.draw(st.integers(1, n))
    task = cases.array_task(n)
    chosen = select(task, Windowed(Redraw(), window=window), k, seed)
    assert len(chosen) == k
    held = 0
    for w, count in enumerate(windows_of(chosen, task, window)):
        held += count
        assert held == k * min(n, (w + 1) * window) // n


def test_a_window_that_holds_all_changes_nothing_but_the_numbering() -> None:
    """RCS of single examples in one window picks what RCS picks, on arrays and on a model."""
    inner = cases.rcs(groups="example", group_size=None, certify=None)
    for task in (cases.array_task(20), cases.sat_task(20)):
        with pytest.warns(UserWarning, match="single examples"):
            plain, windowed = select(task, inner, 6), select(task, Windowed(inner, window=100), 6)
        assert sorted(windowed.indices.tolist()) == sorted(plain.indices.tolist())
        assert sorted(windowed.gains) == pytest.approx(sorted(plain.gains))


def test_windows_restart() -> None:
    """Each window's picks are what RCS picks from that window only: θ′ and query start again."""
    task = cases.array_task(24)
    inner = cases.rcs(group_size=1, stratify=None, certify=None)
    chosen = select(task, Windowed(inner, window=8), 6, 3)
    assert windows_of(chosen, task, 8) == [2, 2, 2]
    scores = task.gradients @ task.validation_gradient
    picked = chosen.indices.tolist()
    for at in (0, 2, 4):
        assert scores[picked[at]] >= scores[picked[at + 1]]


@pytest.mark.parametrize("n", [9, 17, 25, 33])
def test_contrastive_windows_with_a_small_remainder(n: int) -> None:
    """Windows of 8 over N = 8m + 1 leave a last window of one example: under a batch loss the budget is still met."""
    for k in (1, n // 2, n):
        assert len(select(cases.acl_task(n), Windowed(cases.rcs(stratify=None), window=8), k)) == k


def test_certificates_of_windows_are_summed() -> None:
    """Value and bound are the sums over the windows, the ratio is theirs, and the assumptions say what is not covered."""
    task = cases.sat_task(24)
    inner = cases.rcs(stratify=None, group_size=2)
    chosen = select(task, Windowed(inner, window=8), 9)
    known = chosen.certificate
    assert known is not None
    assert known.upper_bound is not None
    with task.snapshot(0, 0) as snapshot:
        order = torch.randperm(24, generator=generator(0, "windows", 0)).numpy()
        each = [
            inner.select(snapshot.restrict(order[at : at + 8], number), k, generator=torch.Generator().manual_seed(0))
            for number, (at, k) in enumerate(((0, 3), (8, 3), (16, 3)))
        ]
    parts = [one.certificate for one in each]
    assert known.value == pytest.approx(sum(p.value for p in parts if p), rel=1e-9)
    assert known.upper_bound == pytest.approx(sum(p.upper_bound or 0.0 for p in parts if p), rel=1e-9)
    assert known.ratio is None or known.ratio == pytest.approx(known.value / known.upper_bound)
    assert known.details["parts"] == 3
    assert "3 windows" in known.assumptions[0]
    assert "what their steps do together is neither" in known.assumptions[1]
    assert not any("has none" in note for note in chosen.provenance.notes)


def test_the_joined_bound_holds_for_every_set_with_the_same_shares() -> None:
    """Over arrays f is linear: no set with two picks in each window exceeds the bound, and the best reaches it."""
    task = cases.array_task(12)
    inner = cases.rcs(groups="example", group_size=None, stratify=None)
    with pytest.warns(UserWarning, match="single examples"):
        chosen = select(task, Windowed(inner, window=4), 6)
    known = chosen.certificate
    assert known is not None
    assert known.upper_bound is not None
    gains = inner.eta * (task.gradients @ task.validation_gradient)
    order = torch.randperm(12, generator=generator(0, "windows", 0)).numpy()
    pairs = [itertools.combinations(order[at : at + 4].tolist(), 2) for at in (0, 4, 8)]
    sums = [sum(gains[i] for pair in picks for i in pair) for picks in itertools.product(*pairs)]
    assert max(sums) == pytest.approx(known.upper_bound, rel=1e-5)
    assert known.value == pytest.approx(gains[chosen.indices].sum(), rel=1e-5)


def test_certificates_that_cannot_be_summed_are_not() -> None:
    """Theorem 2 is about all of RD, so two windows have none, with a note; one window keeps its own; no windows have none."""
    task = cases.sat_task(20)
    both = select(task, Windowed(cases.rcs(certify="paper"), window=10), 6)
    assert both.certificate is None
    assert any("so the whole selection has none" in note for note in both.provenance.notes)
    alone = select(task, Windowed(cases.rcs(certify="paper"), window=20), 6).certificate
    assert alone is not None
    assert alone.method == "paper"
    assert joined([], "windows") is None
    assert joined([alone, None], "windows") is None


def test_windows_are_written_as_batches_of_examples() -> None:
    """100x512 is 51,200 examples, and groups of 512 for rcs; another group size contradicts it; other words are refused."""
    assert windows("100x512") == (51_200, 512)
    assert windows("51200") == (51_200, None)
    made = in_windows(cases.rcs(group_size=None), "4x5")
    assert (made.window, made.selector.group_size) == (20, 5)  # type: ignore[attr-defined]
    assert in_windows(cases.rcs(group_size=5), "4x5") == made
    assert in_windows(cases.rcs(group_size=3), "20") == Windowed(cases.rcs(group_size=3), 20)
    assert in_windows(Redraw(), "4x5") == Windowed(Redraw(), 20)
    with pytest.raises(ShapeError, match="batches of 5 and a group size of 3 contradict"):
        in_windows(cases.rcs(group_size=3), "4x5")
    for wrong in ("", "0", "x", "4x", "0x5", "4x0", "-4x5", "4X5", "4x5x6", "4.5", "１0"):
        with pytest.raises(ShapeError, match="100x512, each at least 1"):
            windows(wrong)


def test_class_shares_are_kept() -> None:
    """Each class gets its share of the budget by largest remainder, and its picks belong to the class."""
    y = np.repeat([0, 1, 2], [12, 8, 4])
    task = cases.array_task(24, labels=y)
    for k, want in ((6, [3, 2, 1]), (12, [6, 4, 2]), (24, [12, 8, 4]), (1, [1, 0, 0])):
        counts = np.bincount(y[select(task, PerClass(Redraw()), k).indices], minlength=3)
        assert counts.tolist() == want


def test_per_class_with_rcs_picks_the_best_of_each_class() -> None:
    """On arrays with single examples each class's picks are its examples of largest score."""
    task = cases.array_task(24)
    with pytest.warns(UserWarning, match="single examples"):
        chosen = select(task, PerClass(cases.rcs(groups="example", group_size=None)), 8)
    scores, y = task.gradients @ task.validation_gradient, task.labels
    for c in np.unique(y):
        picked = [i for i in chosen.indices if y[i] == c]
        best = sorted(np.flatnonzero(y == c), key=lambda i: -scores[i])[: len(picked)]
        assert sorted(picked) == sorted(best)


def test_labels_with_gaps() -> None:
    """Class numbers may have gaps."""
    y = np.array([5, 100, 7, 7] * 6)
    assert len(select(cases.array_task(24, labels=y), PerClass(Redraw()), 10)) == 10


@given(st.integers(1, 30), st.lists(st.floats(0.01, 10), min_size=1, max_size=4), st.data())
def test_a_mixture_shares_the_budget_without_overlap(n: int, shares: list[float], data: st.DataObject) -> None:
    """Exactly k unique picks, each selector within one of its share."""
    k = data.draw(st.integers(1, n))
    makers = [Redraw(), Random(), RS2(), Redraw()]
    chosen = select(cases.array_task(n), Mixture(makers[: len(shares)], shares), k, 1)
    assert len(set(chosen.indices.tolist())) == k


def test_a_mixture_of_weighted_and_unweighted_picks_has_weights() -> None:
    """Picks of a part without weights get weight 1 if other parts have weights; if no part has weights, the whole has none."""
    task = cases.array_task(24)
    chosen = select(task, Mixture((RCSSampled(), Redraw())), 8)
    assert chosen.weights is not None
    assert chosen.weights[4:].tolist() == [1, 1, 1, 1]
    assert select(task, Mixture((Random(), Redraw())), 8).weights is None


def test_requirements_and_renewal_come_from_inside() -> None:
    """A combinator needs what its selectors need, and renews as often as the one that renews most often."""
    mixed = Mixture((cases.rcs(), RS2()))
    assert mixed.renew == "epoch"
    assert {"gradients", "validation"} <= mixed.requires
    assert PerClass(Random()).requires == {"labels"}
    assert PerClass(Random()).renew == "never"
    with pytest.raises(RequirementError, match="labels"):
        select(cases.array_task(12, labels=None), PerClass(Random()), 5)


def test_combinators_nest() -> None:
    """Windows of classes of mixtures meet the budget, and groups are numbered through."""
    selector = Windowed(PerClass(Mixture((cases.rcs(certify=None), Redraw()))), window=13)
    chosen = select(cases.sat_task(30), selector, 14, 2)
    assert len(set(chosen.indices.tolist())) == 14
    recorded = chosen.provenance.settings["selector"]
    assert recorded["type"] == "PerClass"


def test_recrafting_inside_windows_starts_from_theta() -> None:
    """With a selector that attacks again, each window still equals RCS on that window only."""
    task = cases.sat_task(20)
    inner = cases.rcs(recraft="every", stratify=None, certify=None)
    whole = select(task, Windowed(inner, window=10), 8, 5)
    again = select(task, Windowed(inner, window=10), 8, 5)
    assert whole.indices.tolist() == again.indices.tolist()
    assert np.array_equal(whole.gains, again.gains)


def test_a_fixed_grouping_cannot_be_restricted() -> None:
    """Gradients per group cannot be restricted to a part of the pool: an error, also for a restricted task."""
    task = cases.array_task(12, groups=[0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
    assert len(select(task, cases.rcs(), 5)) == 5
    with pytest.raises(RequirementError, match="cannot be restricted"):
        select(task, Windowed(cases.rcs(), window=6), 5)
    for some in ([0, 1, 2], list(range(12))[::-1]):
        with pytest.raises(RequirementError, match="cannot be restricted"):
            select(task.restrict(some), cases.rcs(), 2)


@pytest.mark.parametrize(
    ("make", "refusal"),
    [
        (lambda: Windowed(Random(), window=0), ShapeError),
        (lambda: Mixture(()), RequirementError),
        (lambda: Mixture((Random(),), shares=(1, 2)), RequirementError),
        (lambda: Mixture((Random(), Redraw()), shares=(1, 0)), RequirementError),
        (lambda: Mixture((Random(), Redraw()), shares=(1, float("nan"))), RequirementError),
        (lambda: Mixture((Random(), Redraw()), shares=(1, float("inf"))), RequirementError),
    ],
)
def test_impossible_combinations_are_refused(make: Any, refusal: type[Exception]) -> None:
    """Empty windows, empty mixtures and shares that are not positive raise an error at construction."""
    with pytest.raises(refusal):
        make()


def test_classes_of_equal_size_draw_independently() -> None:
    """Two classes of 20 do not draw the same members by position, round after round."""
    task = cases.array_task(40, labels=np.repeat([0, 1], 20))
    pairs = [select(task, PerClass(Redraw()), 10, 0, round=r).indices for r in range(5)]
    assert any(sorted(i[i < 20]) != sorted(i[i >= 20] - 20) for i in pairs)

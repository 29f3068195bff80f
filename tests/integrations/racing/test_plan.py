"""The arithmetic of a race: what a rung spends, who goes on, how long a run is, and when hours are too short."""

import math
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreselect.errors import RequirementError
from coreselect_integrations.comparison.significance import holm
from coreselect_integrations.pretraining.efforts import with_effort
from coreselect_integrations.racing.arms import Arm, arms_of
from coreselect_integrations.racing.elapsed import union_length
from coreselect_integrations.racing.plan import MARGIN, Budget, Cost, Length, rounded_up, sizes_of, survivors
from coreselect_integrations.racing.race import calibrated
from coreselect_integrations.racing.ranking import ranking, sign_test
from coreselect_integrations.training.effort import Effort

COUNTS = st.integers(1, 60)
COSTS = st.builds(
    Cost, st.integers(20, 500), st.one_of(st.none(), st.integers(1, 20)), st.floats(1e-3, 0.1), st.floats(0, 5),
    st.one_of(st.none(), st.integers(1, 5)), st.sampled_from([0.0, 0.2]), st.floats(0, 3), st.floats(0.5, 2),
)  # fmt: skip


@given(COUNTS, st.integers(2, 4))
def test_every_rung_keeps_one_of_so_many_arms(arms: int, halving: int) -> None:
    """Rung 0 has every arm, each rung the rounded-up part of the one before, and what follows the last rung is one arm."""
    sizes = sizes_of(arms, halving)
    assert sizes[:1] == ([arms] if arms > 1 else [])
    assert all(b == math.ceil(a / halving) for a, b in pairwise(sizes))
    assert not sizes or math.ceil(sizes[-1] / halving) == 1


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=30), st.integers(2, 4))
def test_halving_keeps_the_best(scores: list[float | None], halving: int) -> None:
    """The survivors are the best ones, in order; none that stays behind is better, and a failed arm never goes on."""
    kept = survivors(dict(enumerate(scores)), halving)
    found = [s for i in kept if (s := scores[i]) is not None]
    assert found == sorted(found, reverse=True)
    assert len(kept) == len(found) == min(math.ceil(len(scores) / halving), sum(s is not None for s in scores))
    rest = [s for i, s in enumerate(scores) if i not in kept and s is not None]
    assert not rest or not found or max(rest) <= min(found)


@given(COUNTS, st.floats(10, 1e5), st.floats(0.1, 0.9), st.integers(1, 5), st.integers(2, 4), st.floats(0, 1))
def test_a_race_that_goes_as_planned_spends_its_time_and_no_more(
    arms: int, seconds: float, share: float, processes: int, halving: int, before: float
) -> None:
    """The rungs end with the share of the race, and the last training with the hours but for the margin."""
    budget, sizes, spent = Budget(seconds, share, halving, processes), sizes_of(arms, halving), before * share * seconds
    each, last = budget.expected(sizes, spent)
    for one, size in zip(each, sizes, strict=True):
        spent += one * math.ceil(size / processes)
    assert spent <= share * seconds * (1 + 1e-9)
    assert not sizes or spent == pytest.approx(share * seconds)
    assert spent + last == pytest.approx((1 - MARGIN) * seconds) or last == 0.0


def test_a_rung_that_took_too_long_is_paid_by_what_follows() -> None:
    """Whatever the rungs really take, each of them and the last training only plan with what is left."""
    draw = random.Random(3)
    budget, sizes, spent = Budget(1000.0), sizes_of(13), 0.0
    for rung, size in enumerate(sizes):
        planned = budget.of_rung(rung, sizes, spent) * size
        assert spent + planned * (len(sizes) - rung) <= max(spent, 500.0) + 1e-9
        spent += planned * draw.uniform(0.8, 1.3)
    assert spent + budget.of_last(spent) <= max(spent, 980.0)


@given(COSTS, st.floats(0.1, 500))
def test_the_longest_run_fits_and_one_epoch_more_does_not(cost: Cost, seconds: float) -> None:
    """A run never takes longer than its seconds, unless none fits; trying every number of epochs finds none that is longer."""
    found = cost.longest(seconds)
    if found is None:
        assert seconds < cost.seconds(cost.shortest)
        return
    assert cost.seconds(found) <= seconds * (1 + 1e-9)
    assert 0 <= found.warmup < found.epochs
    assert found.every >= 1
    more = Length(found.epochs + 1, found.warmup, found.every)
    assert cost.rounds is not None or cost.seconds(more) > seconds * (1 - 1e-9)


def test_the_seconds_of_a_run_are_those_of_its_epochs_added_up() -> None:
    """An epoch after another: the whole pool first, then a selection in every second epoch, each with its images."""
    cost, length = Cost(100, 10, 0.01, 3.0, 2, 0.2, 5.0, 1.5), Length(7, 2, 2)
    seconds = 0.0
    for epoch in range(7):
        seconds += 100 * 0.01 if epoch < 2 else 10 * 0.01
        seconds += 3.0 if epoch >= 2 and (epoch - 2) % 2 == 0 else 0.0
    assert cost.seconds(length) == pytest.approx(5.0 + 1.5 * seconds)
    assert Cost(100, None, 0.01).seconds(Length(3, 0, 1)) == pytest.approx(3.0)


def test_the_hours_that_are_needed_are_enough_and_fewer_are_not() -> None:
    """With them the shortest run fits into rung 0 and into the last training; with a hundredth less it does not."""
    for arms, processes in ((9, 1), (9, 4), (1, 1)):
        sizes = sizes_of(arms)
        enough = Budget(1.0, 0.5, 2, processes).needed(7.0, sizes, 11.0)
        for seconds, fits in ((enough * (1 + 1e-9), True), (0.99 * enough, False)):
            budget = Budget(seconds, 0.5, 2, processes)
            each, last = budget.expected(sizes, 11.0)
            assert (all(s >= 7.0 for s in (*each[:1], last))) == fits
    for share in (0.9, 0.97):  # the rungs leave little
        enough = Budget(1.0, share).needed(7.0, sizes_of(2), 11.0)
        assert Budget(enough * (1 + 1e-9), share).expected(sizes_of(2), 11.0)[1] >= 7.0
        assert Budget(enough * 0.99, share).expected(sizes_of(2), 11.0)[1] < 7.0
    assert Budget(1.0, 0.99).needed(7.0, sizes_of(2), 0.0) == math.inf
    assert rounded_up(3601) == pytest.approx(1.1)
    assert rounded_up(36.0) == pytest.approx(0.01)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10)), max_size=8))
def test_time_in_which_several_processes_work_counts_once(sessions: list[tuple[int, int]]) -> None:
    """The length of the union is the number of unit intervals that some session covers."""
    spans = [(float(a), float(a + n)) for a, n in sessions]
    assert union_length(spans) == len({t for a, n in sessions for t in range(a, a + n)})


def test_arms_are_every_combination_and_the_whole_pool_is_one_arm() -> None:
    """At fraction 1 the methods are the same training, so there is one arm for each effort; cheaper attacks come first."""
    arms = arms_of(["rs2", "rcs"], [0.1, 1.0], [Effort(5), Effort(1, 1.5)])
    assert [arm.name for arm in arms] == [
        "rs2 0.1 1x1.5", "rcs 0.1 1x1.5", "full 1x1.5", "rs2 0.1 5", "rcs 0.1 5", "full 5",
    ]  # fmt: skip
    assert Arm("rcs:eta=0.1", 0.05, Effort(2)).folder == "rcs_eta=0.1_0.05_2"


def test_a_method_with_an_effort_of_its_own_is_one_arm_with_that_effort() -> None:
    """It is raced once, under its plain name, however many efforts there are; equal arms are one."""
    arms = arms_of(["rs2@1x1.5", "rs2", "rs2@5"], [0.1], [Effort(5), Effort(1), Effort(1, 1.0)])
    assert [arm.name for arm in arms] == ["rs2 0.1 1x1.5", "rs2 0.1 1", "rs2 0.1 5"]
    assert [arm.name for arm in arms_of(["rs2@1x1.5", "rcs@1x1.5"], [1.0], [Effort(5)])] == ["full 1x1.5"]
    with pytest.raises(RequirementError, match="an effort is the steps"):
        arms_of(["rs2@x"], [0.1], [Effort(5)])


def test_an_effort_without_a_factor_is_within_the_judged_radius() -> None:
    """Also where the settings train within another one, as those of a preset may."""
    from tiny_runs import tiny

    wide = tiny("sat", radius=0.1, train_radius=0.15)
    run = Arm("rs2", 0.5, Effort(5)).settings(wide, Length(3, 0, 1), 0)
    assert (run.attack_radius, run.step) == pytest.approx((0.1, 0.05))
    assert Arm("rs2", 0.5, Effort(1, 1.5)).settings(wide, Length(3, 0, 1), 0).attack_radius == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("words", "rounds"),
    [
        ("rs2", None), ("rs2:balance=labels", None), ("rs2:balance=clusters", 4), ("rs2:filter=0.6", 4), ("redraw", 4),
        ("el2n:filter=0.6", 4), ("random", 1), ("random:balance=clusters", 1), ("el2n+rs2", None), ("importance", None),
    ],
)  # fmt: skip
def test_a_race_is_charged_for_what_a_run_reads(words: str, rounds: int | None) -> None:
    """Clusters and losses are read in each round, as in `train`; a mixture with draws of every epoch reads in each epoch."""
    from tiny_runs import tiny

    template = tiny("sat", radius=0.1, epochs=21, warmup=1, every=5)
    assert Arm(words, 0.5, Effort(1)).cost(template, 100, 0.01, 1.0, 0.0).rounds == rounds


@pytest.mark.parametrize(
    ("words", "steps", "radius", "step"), [("1x1.5", 1, 1.5, 1.875), ("2x1.25", 2, 1.25, 1.5625), ("5", 5, 1, 0.5)]
)
def test_an_effort_is_steps_and_a_radius(words: str, steps: int, radius: float, step: float) -> None:
    """Radius and step are in judged radii: steps walk 2½ training radii in all, and at most 1¼ each."""
    from tiny_runs import tiny

    settings = with_effort(tiny("sat", radius=0.1), Effort.parse(words))
    assert Effort.parse(words).words == words
    assert settings.attack_steps == steps
    assert (settings.attack_radius, settings.step) == pytest.approx((0.1 * radius, 0.1 * step))


@pytest.mark.parametrize("words", ["", "x1.5", "0", "1x0", "1x", "5.5", "-1", "1x1.5x2", "٣"])
def test_other_words_are_no_effort(words: str) -> None:
    """They are refused with an example."""
    with pytest.raises(RequirementError, match=r"1x1\.5|above 0 judged radii"):
        Effort.parse(words)


def _record(arm: str, rung: int, right: str | None) -> dict:
    robust = None if right is None else right.count("1") / len(right)
    return {
        "arm": arm, "rung": rung, "robust": robust, "standard": robust, "n": 0 if right is None else len(right),
        "right": right or "", "seconds": 1.0, "error": None if right is not None else "it diverged",
        "cut": False, "done": 4, "epochs": 4, "warmup": 1,
    }  # fmt: skip


def test_the_ranking_says_who_is_behind_and_who_is_not_distinguishable() -> None:
    """Arms are compared with the winner in their own last rung, on the same images; failed arms come last."""
    good, same, bad = "1" * 60 + "0" * 40, "1" * 58 + "0" * 41 + "1", "1" * 20 + "0" * 80
    records = [_record("a", 0, good), _record("b", 0, same), _record("c", 0, bad), _record("d", 0, None)]
    records += [_record("a", 1, good), _record("b", 1, same)]
    found = ranking(records, "a")
    assert [o.arm for o in found] == ["a", "b", "c", "d"]
    assert [o.distinguishable for o in found[1:]] == [False, True, True]
    assert [o.rung for o in found] == [1, 1, 0, 0]
    assert (found[1].behind, found[2].behind) == pytest.approx((0.01, 0.4))
    differences = [int(x) - int(y) for x, y in zip(good, bad, strict=True)]
    mean = sum(differences) / 100
    assert found[2].behind_error == pytest.approx(math.sqrt(sum((d - mean) ** 2 for d in differences) / 100 / 100))
    assert found[0].error == pytest.approx(math.sqrt(0.6 * 0.4 / 100))
    assert found[3].why == "it diverged"


def test_the_ranking_says_which_runs_ended_early() -> None:
    """With how much they did, and whether anything had been selected by then."""
    short = {**_record("b", 0, "1100"), "cut": True, "done": 2}
    warm = {**_record("c", 0, "1000"), "cut": True, "done": 1}
    found = ranking([_record("a", 0, "1110"), short, warm], "a")
    assert [o.cut for o in found] == [None, "2 of 4 epochs", "1 of 4 epochs, before its first selection"]


def test_arms_of_one_name_are_refused_and_the_starts_of_a_run_need_no_words() -> None:
    """Numbers are told apart by six digits; `1` and `1-uniform` are one attack where the run starts uniformly."""
    with pytest.raises(RequirementError, match=r"two arms are called 'rs2 0\.1 1'"):
        arms_of(["rs2"], [0.1, 0.1000001], [Effort(1)])
    assert [arm.name for arm in arms_of(["rs2"], [0.1], [Effort(1), Effort(1, start="uniform")])] == ["rs2 0.1 1"]
    found = arms_of(["rs2"], [0.1], [Effort(1), Effort(1, start="uniform")], start="nfgsm")
    assert [arm.name for arm in found] == ["rs2 0.1 1", "rs2 0.1 1-uniform"]


def test_a_side_model_is_paid_once_a_run() -> None:
    """Its seconds leave fewer epochs, and a measured run changes the price of its epochs alone."""
    plain = Cost(100, 10, 0.01)
    dear = replace(plain, once=5.0)
    assert dear.seconds(Length(8, 0, 1)) == pytest.approx(plain.seconds(Length(8, 0, 1)) + 5)
    least, most = dear.longest(6.0), plain.longest(6.0)
    assert least is not None
    assert most is not None
    assert (least.epochs, most.epochs) == (10, 60)
    ran = {"done": 10, "warmup": 0, "every": 1, "train_seconds": 5 + 6.0, "judge_seconds": 0.0}
    assert calibrated(dear, ran).factor == pytest.approx(6.0)


def test_p_values_are_those_of_the_definitions() -> None:
    """The sign test adds up the binomial tails; Holm multiplies the i-th smallest of m by m − i, and never falls."""
    tails = sum(math.comb(10, k) for k in (0, 1, 9, 10)) / 2**10
    assert sign_test(1, 9) == sign_test(9, 1) == pytest.approx(tails)
    assert sign_test(0, 0) == 1.0
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([]) == []

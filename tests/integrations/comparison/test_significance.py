"""Claims about what a comparison can tell: power, correction for many comparisons, and seeds that explored or confirm."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from coreselect_integrations.comparison.page import as_html, standing
from coreselect_integrations.comparison.picture import seconds
from coreselect_integrations.comparison.significance import holm, smallest_difference
from coreselect_integrations.comparison.statistics import Line, lines
from coreselect_integrations.comparison.tables import NARROW, WIDE, blocks, nonempty_columns, what_can_be_seen

ABOUT = {
    "system": "sat", "arch": "small", "data": "digits", "pool_size": 100, "tested": 50, "epochs": 9, "warmup": 1, "every": 2,
    "radius": 8 / 255,
}  # fmt: skip


def record(method: str, seed: int, robust: float, seconds: float) -> dict[str, Any]:
    """A finished cell."""
    return {
        "method": method, "fraction": None if method == "full" else 0.1, "seed": seed, "equal": "epochs", "error": None,
        "accuracy": {"trained": {"standard": 0.8, "robust": robust, "n": 2000}}, "epochs": 9, "warm_seconds": 1.0,
        "train_seconds": seconds, "select_seconds": 0.0, "selection": {}, "rd": None, "seen": 1.0, "classes": None, "trouble": [],
    }  # fmt: skip


# rs2 by seed, and what two methods differ from it, in shares.
REFERENCE = (0.40, 0.42, 0.41, 0.43, 0.40)
DIFFERENCES = {"rcs": (0.01, 0.02, 0.03, 0.01, 0.02), "craig": (0.02, -0.01, 0.01, 0.00, -0.02)}


def five() -> list[dict[str, Any]]:
    """Two methods and the reference on five seeds, and a full run of other seconds in every seed."""
    found = [record("full", s, 0.5, 80.0 + 10 * s) for s in range(5)]
    found += [record("rs2", s, REFERENCE[s], 6.0 + 2 * s) for s in range(5)]
    for method, away in DIFFERENCES.items():
        found += [record(method, s, REFERENCE[s] + away[s], 20.0 + 2 * s) for s in range(5)]
    return found


def by_method(*args: Any) -> dict[str, Line]:
    return {line.method: line for line in lines(*args)}


@pytest.mark.parametrize("n", [2, 3, 8, 30])
def test_the_smallest_difference_is_that_of_statsmodels(n: int) -> None:
    """Its effect size at power 0.8 is δ/σ, to five digits."""
    power = pytest.importorskip("statsmodels.stats.power", reason="statsmodels is an oracle of the power of a t-test")
    effect = power.TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8, alternative="two-sided")
    assert smallest_difference(2.0, n) == pytest.approx(2.0 * effect, rel=1e-5)


@pytest.mark.parametrize("n", [3, 8])
def test_the_test_of_scipy_finds_the_smallest_difference_four_times_in_five(n: int) -> None:
    """Of 20,000 drawn experiments with that true difference, a share of 0.8 has p < 0.05 (standard error 0.003)."""
    g = np.random.default_rng(n)
    drawn = g.normal(smallest_difference(1.5, n), 1.5, size=(20_000, n))
    p: Any = ttest_rel(drawn, np.zeros_like(drawn), axis=1)
    assert np.mean(p.pvalue < 0.05) == pytest.approx(0.8, abs=0.012)


def test_more_seeds_see_less_and_no_spread_sees_everything() -> None:
    """δ falls with n, is linear in the spread, and nears (1.96 + 0.84)·σ/√n of the normal approximation."""
    seen = [smallest_difference(1.0, n) for n in (2, 3, 8, 400)]
    assert seen == sorted(seen, reverse=True)
    assert seen[-1] == pytest.approx((1.959964 + 0.841621) / math.sqrt(400), rel=0.01)
    assert smallest_difference(3.0, 3) == pytest.approx(3 * seen[1])
    assert smallest_difference(0.0, 3) == 0.0


def rejected(values: list[float], level: float) -> set[int]:
    """Holm's procedure as it is told: reject the smallest while p₍ₖ₎ ≤ α / (m − k + 1), and stop at the first that is not."""
    out: set[int] = set()
    for k, at in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        if values[at] > level / (len(values) - k):
            break
        out.add(at)
    return out


@given(st.lists(st.integers(0, 64).map(lambda k: k / 64), max_size=8), st.integers(1, 63).map(lambda k: k / 64 + 1e-9))
def test_corrected_p_reject_what_holms_procedure_rejects(values: list[float], level: float) -> None:
    """At every level p̃ ≤ α exactly where the step-down procedure rejects."""
    assert {at for at, p in enumerate(holm(values)) if p <= level} == rejected(values, level)


def test_corrected_p_are_those_of_statsmodels() -> None:
    """Ties, 0 and 1 included."""
    tests = pytest.importorskip("statsmodels.stats.multitest", reason="statsmodels is an oracle of Holm's correction")
    g = np.random.default_rng(0)
    for m in (1, 2, 7, 40):
        values = [*g.uniform(size=m), 0.0, 1.0, 0.02, 0.02]
        assert holm(values) == pytest.approx(list(tests.multipletests(values, method="holm")[1]))
    assert holm([]) == []


def test_every_line_of_a_comparison_is_corrected_for_all_of_them() -> None:
    """Two methods are two tests: the smaller p is doubled, the larger stays; a line tells its smallest visible difference."""
    found = by_method(five())
    away = {name: np.array(values) for name, values in DIFFERENCES.items()}
    p: dict[str, Any] = {name: ttest_rel(values, np.zeros(5)) for name, values in away.items()}
    rcs, craig = found["rcs"].tested, found["craig"].tested
    assert rcs is not None
    assert craig is not None
    assert rcs.corrected == pytest.approx(2 * p["rcs"].pvalue)
    assert craig.corrected == pytest.approx(p["craig"].pvalue)
    assert rcs.visible == pytest.approx(smallest_difference(away["rcs"].std(ddof=1), 5))
    assert (found["rs2"].tested, found["full"].tested) == (None, None)


def test_seeds_of_a_choice_explore_and_the_others_confirm() -> None:
    """p and the visible difference are of the fresh seeds; without fresh seeds there is no p, and the table says so."""
    found = by_method(five(), range(3))["rcs"]
    p: Any = ttest_rel(DIFFERENCES["rcs"][3:], np.zeros(2))
    assert found.confirmed is not None
    assert found.against is not None
    assert (found.against.difference.n, found.confirmed.difference.n) == (5, 2)
    assert found.tested is found.confirmed
    assert found.confirmed.p == pytest.approx(p.pvalue)
    none_fresh = by_method(five(), range(5))["rcs"]
    assert none_fresh.exploratory
    assert none_fresh.tested is None
    names, rows = nonempty_columns(WIDE, [none_fresh])
    assert "visible" not in names
    assert "p" not in names
    assert rows[0][names.index("p, Holm")] == "expl."
    assert rows[0][names.index("− rs2")] == "+1.8 ± 0.8"
    for line, words in ((found, ["+1.5 ± 0.7", f"{2 * p.pvalue:.3f}"]), (none_fresh, ["+1.8 ± 0.8", "expl."])):
        names, rows = nonempty_columns(NARROW, [line])
        assert rows[0][names.index("− rs2") :][:2] == words


def test_a_sentence_below_each_table_says_what_its_seeds_can_tell() -> None:
    """It gives the range of the lines with two seeds, and nothing without any."""
    ((_, found),) = blocks(five())
    sizes = sorted(100 * smallest_difference(float(np.std(away, ddof=1)), 5) for away in DIFFERENCES.values())
    assert what_can_be_seen(found) == (
        f"The smallest difference that 5 seeds can tell: {sizes[0]:.1f} to {sizes[1]:.1f} points, median {sum(sizes) / 2:.1f}."
    )
    ((_, fresh),) = blocks(five(), range(2))
    assert what_can_be_seen(fresh).startswith("The smallest difference that 3 fresh seeds can tell: ")
    ((_, few),) = blocks([r for r in five() if r["seed"] == 0])
    assert what_can_be_seen(few) == ""


def test_the_page_says_which_seeds_explore_and_which_confirm() -> None:
    """Not recorded, all chosen on, and some fresh are three sentences."""
    about = {**ABOUT, "seeds": [0, 1, 2, 3, 4]}
    assert "It is not recorded on which seeds" in as_html(about, five(), None)
    page = as_html({**about, "chosen_on": [0, 1, 2]}, five(), None)
    assert (
        "Settings were chosen on seeds 0, 1, 2: exploratory. Fresh seeds 3, 4: confirmatory, p and the smallest" in page
    )
    assert "The smallest difference that 2 fresh seeds can tell" in page
    assert "p is not shown" in standing({**about, "chosen_on": [0, 1, 2, 3, 4]})
    assert "is not recorded" not in as_html(about, [r for r in five() if r["method"] == "full"], None)


def test_the_table_has_the_speed_up_of_the_pictures_axis() -> None:
    """Both are the ratio of mean times: 100 s of the full run over 10 s of rs2; the mean of ratios would be 10.6."""
    found = by_method(five())
    for line in found.values():
        assert line.speedup == pytest.approx(seconds(found["full"]) / seconds(line))
    assert found["rs2"].speedup == pytest.approx(10.0)
    assert np.mean([(80 + 10 * s) / (6 + 2 * s) for s in range(5)]) > 10.3

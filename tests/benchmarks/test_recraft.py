"""The measurement of attacks on validation runs whole on made-up images."""

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.case_types import EPSILON, SelectionCase, WarmUp
from benchmarks.recraft import CASES, FORMS, Rolled, measure, table
from coreselect.attacks import PGD

STEP = PGD(EPSILON, 10 / 255, 1)
CASE = SelectionCase(
    pool=64, validation=8, group_size=8, budget=24, attack=STEP, warm=WarmUp(32, 1), arch="small", thresholds=()
)


def test_every_deal_has_a_line_and_every_form_a_quality(tmp_path: Path) -> None:
    """`every` is what the others are measured by, and `once` is what their time is relative to."""
    lines = list(measure(CASE, FORMS, deals=[0, 1], data="noise", work=tmp_path))
    assert [line["deal"] for line in lines] == [0, 1]
    for line in lines:
        assert line["every"]["quality"] == 1
        assert line["every"]["in common"] == 3
        assert line["once"]["seconds"] == 1
        assert line["every"]["seconds"] > 1
    rows = table([lines[0], {**lines[1], "seed": 1}]).splitlines()
    assert len(rows) == 2 + len(FORMS)
    assert "(2)" in rows[-1]


def test_cases_are_whole_numbers_of_groups() -> None:
    """Otherwise quality depends on the few examples to which a last group is cut."""
    for case in CASES.values():
        assert case.pool % case.group_size == case.budget % case.group_size == 0


@pytest.mark.parametrize("dim", [-1, -2])
def test_another_start_differs_in_every_place(dim: int) -> None:
    """It lies in the same ball."""
    x, noise = torch.full((2, 3, 4, 4), 0.5), torch.rand(2, 3, 4, 4) * 2 - 1
    still, steps = PGD(EPSILON, 10 / 255, 0), asdict(PGD(EPSILON, 10 / 255, 0))
    (own,) = still(lambda views: views[0].sum(), (x,), (noise,))
    (moved,) = Rolled(**steps, dim=dim)(lambda views: views[0].sum(), (x,), (noise,))
    assert not bool((own == moved).any())
    assert bool(((moved - x).abs() <= EPSILON + 1e-6).all())


def test_a_form_leaves_no_attack_behind(tmp_path: Path) -> None:
    """Each form starts from the validation images attacked at θ, so forms do not depend on those before them."""

    def lines(*names: str) -> list[dict[str, Any]]:
        forms = {name: FORMS[name] for name in names}
        return list(measure(CASE, forms, deals=[0, 1], data="noise", work=tmp_path))

    alone, after = lines("once", "every"), lines("every", "every 2", "halfway", "once")
    for one, other in zip(alone, after, strict=True):
        assert one["rd"] == other["rd"]
        assert one["once"]["quality"] == other["once"]["quality"]
        assert one["once"]["in common"] == other["once"]["in common"]


def test_picks_of_greedy_are_better_than_random_sets(tmp_path: Path) -> None:
    """RD after a random step is higher; a gain of nothing has no quality."""
    (line,) = measure(CASE, FORMS, deals=[0], data="noise", work=tmp_path)
    assert line["rd"]["every"] < line["rd"]["random"]
    (still,) = measure(replace(CASE, eta=1e-30), FORMS, deals=[0], data="noise", work=tmp_path)
    assert math.isnan(still["once"]["quality"])

"""The measurement of attacks on validation runs whole on made-up images."""

from pathlib import Path

import torch

from benchmarks.case_types import EPSILON, SelectionCase, WarmUp
from benchmarks.recraft import CASES, FORMS, From, measure, table
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
    rows = table([{**line, "validation": 8} for line in lines]).splitlines()
    assert len(rows) == 2 + len(FORMS)
    assert "(2)" in rows[-1]


def test_cases_are_whole_numbers_of_groups() -> None:
    """Otherwise quality depends on the few examples to which a last group is cut."""
    for case in CASES.values():
        assert case.pool % case.group_size == case.budget % case.group_size == 0


def test_another_start_is_made_from_the_given_one() -> None:
    """It lies in the same ball."""
    x, noise = torch.full((2, 3, 4, 4), 0.5), torch.rand(2, 3, 4, 4) * 2 - 1
    still = From(EPSILON, 10 / 255, 0)
    (moved,) = still(lambda views: views[0].sum(), (x,), (noise,))
    assert torch.allclose(moved, x - EPSILON * noise)

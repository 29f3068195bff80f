"""Claims about the plain loops: at toy size they pick what the methods pick, and a worse side is seen."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import large, loops, one_to_all, points
from benchmarks.case_types import LargeCase, LoopCase
from benchmarks.cases import CASES

LOOPS = [name for name, case in CASES.items() if isinstance(case, LoopCase)]


@pytest.mark.parametrize("name", LOOPS)
def test_both_sides_do_the_same(name: str) -> None:
    """With few examples the values are equal, or some picks the same where clusters are drawn at random."""
    pytest.importorskip("faiss")
    case: Any = replace(CASES[name], pool=200, budget=20, width=12, rounds=1)  # type: ignore[type-var]
    got = one_to_all.run(case)
    assert got["ratio"] > 0
    assert got["value"] >= (0.05 if case.method == "semdedup" else 1 - 1e-4)


def test_worse_picks_have_a_smaller_value() -> None:
    """Every value falls if good picks are replaced by the same few neighbours of one example."""
    x = points.mixture(200, 12, 10, 0)
    poor = np.argsort(np.square(x - x[0]).sum(1))[:20].tolist()
    for loop, value in (
        (loops.graph_cut, one_to_all.cut), (loops.k_center, one_to_all.nearness), (loops.herding, one_to_all.agreement),
        (loops.craig, one_to_all.spared), (loops.facility, points.coverage),
    ):  # fmt: skip
        assert value(x, poor) < value(x, loop(x, 20))


def test_a_large_case_measures_and_leaves_no_file(tmp_path: Path) -> None:
    """Seconds and memory come back, and the features are gone."""
    case = LargeCase("k_center", 300, 20, thresholds=(), dtype="float16", width=8, clusters=5)
    got = large.run(case, work=tmp_path)
    assert got["cpu_seconds"]["select"] >= 0
    assert not list(tmp_path.iterdir())

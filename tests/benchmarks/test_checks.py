"""Claims about the benchmark of checks: every named check exists and is watched, and nested checks count once."""

from pathlib import Path

import cases
import numpy as np
import pytest

from benchmarks import checks
from benchmarks.case_types import CheckCase
from coreselect.attacks import PGD
from coreselect.support import bounds


def test_every_check_is_watched_where_it_is_used_and_put_back(tmp_path: Path) -> None:
    """A small case gives a share between 0 and 1, and the look at the first items is among the seconds."""
    images = np.random.default_rng(0).integers(0, 256, (80, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "images_train.npy", images)
    np.save(tmp_path / "labels_train.npy", np.arange(80, dtype=np.uint8) % 10)
    before = bounds.check_range
    case = CheckCase(pool=64, validation=8, budget=16, group_size=8, attack=PGD(8 / 255, 10 / 255, 1))
    found = checks.run(case, data=str(tmp_path))
    assert 0 < found["share"] < 1
    assert set(found["check_cpu_seconds"]) == set(checks.CHECKS)
    assert found["check_cpu_seconds"]["coreselect.task.first_look:first_look"] > 0
    assert bounds.check_range is before


def test_a_check_inside_a_check_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that moves by 1 at each look, an outer check that calls an inner one costs 1 and the inner one nothing."""
    ticks = iter(range(1000))
    monkeypatch.setattr(checks, "process_time", lambda: float(next(ticks)))
    names = ("coreselect.support.bounds:check_inputs", "coreselect.support.bounds:range_of")
    with checks.timed(names) as seconds:
        bounds.check_inputs(cases.images(4), PGD(0.1, 0.1, 1))
    assert seconds == {names[0]: 1.0, names[1]: 0.0}

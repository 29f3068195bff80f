"""A sitting on a GPU can be tried on a CPU: each section is a line, also if it fails or is not reached."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.__main__ import main
from benchmarks.gpu.sections import SECTIONS
from benchmarks.gpu.sitting import LINES, Place, hold


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / LINES).read_text().splitlines()]


def test_sections_of_a_small_sitting_are_lines_with_their_measures(tmp_path: Path) -> None:
    """Machine, sweep, selection, training steps and those that need CUDA run at a small size on a CPU."""
    names = ["machine", "sweep, 1 step", "selection", "attack", "graph", "memory"]
    assert main(["--device", "cpu", "--small", "--out", str(tmp_path), "--sections", *names]) == 0
    found = {line["section"]: line for line in lines(tmp_path)}
    assert list(found) == names
    assert all(line["error"] is None for line in found.values())
    assert found["machine"]["launch_us"] > 0
    assert found["sweep, 1 step"]["largest_difference_of_losses"] <= 1e-4
    assert found["sweep, 1 step"]["ratio"] > 0
    assert found["selection"]["picks_in_common"] >= 1
    assert found["attack"]["difference_of_weights"] <= 1e-4


def test_a_failed_section_is_a_line_and_not_the_end(tmp_path: Path) -> None:
    """What raises says so with its place, what comes after runs, and what begins after the time is over does not."""
    now = iter(range(0, 1000, 30))

    def fails(place: Place) -> dict:
        raise ValueError(f"no such\nthing on {place.device}")

    sections = {"one": lambda place: {"value": float("nan")}, "two": fails, "three": lambda place: {"value": 3}}
    said: list[str] = []
    place = Place(torch.device("cpu"), True, "noise", tmp_path)
    assert not hold(sections, place, minutes=2, say=said.append, clock=lambda: float(next(now)))
    one, two, three = lines(tmp_path)
    assert [json.loads(text) for text in said] == [one, two, three]
    assert (one["value"], one["error"]) == (None, None)
    assert two["error"] == "ValueError: no such thing on cpu"
    assert two["where"][-1].startswith("test_gpu.py:")
    assert three["error"] == "not run: the sitting's 2 minutes were over"


def test_a_device_that_is_not_here_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing runs, and one sentence says which device is missing."""
    with pytest.raises(SystemExit) as left:
        main(["--device", "cuda:99", "--out", str(tmp_path)])
    assert left.value.code == 2
    assert "there is no device cuda:99 here" in capsys.readouterr().err
    assert not (tmp_path / LINES).exists()
    assert "sweep, 10 steps" in SECTIONS

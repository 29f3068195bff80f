"""`coreselect select` with --dry-run, --store and --selectors, as a user sees them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from coreselect import Selection
from coreselect.cli.app import build
from coreselect.errors import StoreError
from coreselect.io.folder_lock import FolderLock
from coreselect.io.index_file import read_indices

WORDS = ["select", "--rows", "150", "--fraction", "0.2", "--warmup-epochs", "0", "--attack-steps", "1"]


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words])


def test_a_dry_run_prints_the_plan_and_does_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans of several methods in 80 columns and as JSON, without --out; no file is written, and nothing is said on stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    words = [*WORDS, "--selectors", "rcs,deepfool,random", "--dry-run", "--store", tmp_path / "none"]
    shown, as_json = command(*words), command(*words, "--json")
    assert shown.exit_code == as_json.exit_code == 0, shown.output
    assert shown.stderr == as_json.stderr == ""
    assert max(map(len, shown.stdout.splitlines())) <= 80
    for said in ("rcs: 29 of 149 examples", "in all about", "no pass through a model", "≤ 7,748"):
        assert said in shown.stdout
    plans = json.loads(as_json.stdout)["plans"]
    assert [p["selector"] for p in plans] == ["rcs", "deepfool", "random"]
    assert plans[0]["passes"][1] | {"seconds": None} == {
        "part": "sweep", "examples": 149, "forward": 149, "steps": 149, "backward": 0, "at_most": False, "seconds": None,
    }  # fmt: skip
    assert plans[0]["total_seconds"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_warm_up_is_part_of_the_plan() -> None:
    """Without a model, the plan has the time of the warm-up, from one of its batches."""
    got = command(*WORDS[:5], "--warmup-epochs", 3, "--dry-run", "--json")
    assert json.loads(got.stdout)["warm_up_seconds"] > 0


def test_several_methods_share_a_sweep_and_write_a_file_each(tmp_path: Path) -> None:
    """A folder or a name with {selector} has one file a method, each as the method writes it alone; --json is a list."""
    pattern = tmp_path / "{selector}-few.txt"
    got = command(
        *WORDS, "--selectors", "k_center, el2n", "--store", tmp_path / "s", "--out", tmp_path / "out", "--json"
    )
    assert got.exit_code == 0, got.output
    assert [s["selector"] for s in json.loads(got.stdout)] == ["k_center", "el2n"]
    again = command(*WORDS, "--selectors", "k_center,el2n", "--store", tmp_path / "s", "--out", pattern)
    assert "of the sweep 'natural' are there" in again.stderr
    for name in ("k_center", "el2n"):
        alone = tmp_path / f"{name}.npy"
        assert command(*WORDS, "--selector", name, "--out", alone).exit_code == 0
        want = read_indices(alone)
        assert np.array_equal(Selection.load(tmp_path / "out" / f"{name}.npz").source_indices, want)
        assert np.array_equal(read_indices(tmp_path / f"{name}-few.txt"), want)
    assert len(list((tmp_path / "s").glob("*.rows"))) == 1


@pytest.mark.parametrize(
    "more",
    [
        ["--out", "c.npz", "--selectors", "rcs,k_center"],
        ["--out", "c", "--selectors", "rcs,rcs"],
        ["--out", "c", "--selectors", "rcs,,k_center"],
        [],
        ["--out", "c.npz", "--features", "f.npy", "--store", "s"],
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(more: list[str]) -> None:
    """One file for several methods, a method twice, an empty name, no --out, and a store for arrays."""
    assert command(*WORDS, *more).exit_code == 2


def test_a_store_that_cannot_be_used_is_refused_before_the_warm_up(tmp_path: Path) -> None:
    """A folder in use, and a place below a file, are refused although the data does not even exist."""
    lock = FolderLock(tmp_path / "used")
    (tmp_path / "file").write_text("")
    for store, said in (
        (tmp_path / "used", "in use by process"),
        (tmp_path / "file" / "s", "cannot be used as a store"),
    ):
        got = command(
            "select", "--data", tmp_path / "nowhere", "--count", 3, "--store", store, "--out", tmp_path / "c.npz"
        )
        assert isinstance(got.exception, StoreError)
        assert said in str(got.exception)
    lock.release()

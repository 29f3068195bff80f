"""`--dry-run` of train and compare prints a plan and does nothing more; `train --store` keeps the current sweep."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect.gradients.row_store import FolderStore

pytest.importorskip("sklearn", reason="digits come with scikit-learn")
SMALL = ("--rows", 90, "--validation", 10, "--arch", "small", "--batch-size", 20, "--attack-steps", 1)
SCHEDULE = ("--warmup", 1, "--every", 1)
TRAIN = ("train", "sat", *SMALL, "--epochs", 3, "--step", 0.04)
CHOSEN = (*TRAIN, *SCHEDULE, "--fraction", 0.25, "--selector", "rcs")


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "80", "TERMINAL_WIDTH": "400"})


def test_train_says_what_it_would_cost(tmp_path: Path) -> None:
    """Training, one selection and their sum are told, as lines and as JSON; no folder is made."""
    got = command(*CHOSEN, "--dry-run", "--out", tmp_path / "run")
    assert got.exit_code == 0, got.output
    assert "training: 3 epochs, 6 updates, 120 images: about" in got.stdout
    assert "selecting: 2 times: about" in got.stdout
    assert "in all about" in got.stdout.splitlines()[-1]
    told = json.loads(command(*CHOSEN, "--dry-run", "--json", "--out", tmp_path / "run").stdout)
    assert (told["epochs"], told["updates"], told["images"], told["selections"]) == (3, 6, 120, 2)
    assert told["selection"]["selector"] == "rcs"
    assert told["total_seconds"] == pytest.approx(told["training_seconds"] + told["selecting_seconds"])
    assert not list(tmp_path.iterdir())


def test_compare_says_what_it_would_cost(tmp_path: Path) -> None:
    """Every kind of cell has a line, with its number of cells and the passes of its selections; no folder is made."""
    words = ("compare", *SMALL, *SCHEDULE, "--epochs", 3, "--test-rows", 20, "--selectors", "rcs,random")
    got = command(
        *words, "--fractions", 0.25, "--seeds", 2, "--equal", "epochs,time", "--dry-run", "--out", tmp_path / "c"
    )
    assert got.exit_code == 0, got.output
    lines = got.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:4]] == ["warm", "full", "rcs 0.25", "random 0.25"]
    assert "2 cells, 2 epochs, 2 updates, 40 images; 2 selections of " in lines[2]
    assert "4 more cells" in lines[4]
    assert lines[5].startswith("an image costs ")
    assert "that each can afford at equal time: rcs 0.25: " in lines[6]
    assert "for 12 cells, estimated" in lines[7]
    assert not list(tmp_path.iterdir())


def test_train_keeps_the_sweep_of_its_selection(tmp_path: Path) -> None:
    """The folder holds the batches of the last selection, all of them; without a selector there is nothing to keep."""
    got = command(*CHOSEN, "--store", tmp_path / "rows", "--out", tmp_path / "run")
    assert got.exit_code == 0, got.output
    (only,) = (tmp_path / "rows").iterdir()
    assert only.name == "round-000001"
    assert all(done == batches > 0 for _, done, batches in FolderStore(only).contents())
    refused = command(*TRAIN, "--store", tmp_path / "rows", "--out", tmp_path / "other")
    assert refused.exit_code == 2
    assert "give --selector" in " ".join(refused.output.split())

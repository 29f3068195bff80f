"""`--size` and `--resize` as a user gives them: STL-10 of 96 pixels through all commands at 16, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from datafiles import stl10
from typer.testing import CliRunner

from coreselect import Selection
from coreselect.cli.app import build
from coreselect.errors import DataError
from coreselect_integrations.networks import load_network

pytest.importorskip("PIL.Image", reason="resizing needs coreselect[data]")
SMALL = ("--size", 16, "--resize", "stretch")
pytestmark = pytest.mark.filterwarnings("ignore::coreselect.errors.CoreselectWarning")


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "80"})


def result(*words: object) -> Any:
    """The JSON of a command that succeeds."""
    done = command(*words, "--json")
    assert done.exit_code == 0, (done.stderr, done.exception)
    return json.loads(done.stdout)


def test_stl10_goes_through_every_command_at_16_pixels(tmp_path: Path) -> None:
    """Pre-trained on the unlabelled part, fine-tuned on a fold, evaluated, selected from, inspected: each reads 16 pixels."""
    data = tmp_path / "stl10_binary"
    stl10(data, unlabelled=24)
    short = ("--epochs", 1, "--batch-size", 8, "--device", "cpu")
    train = ("--data", f"{data}@unlabelled", "--arch", "small", "--lr-warmup", 0, "--attack-steps", 1)
    about = result("train", "acl", *train, "--out", tmp_path / "acl", *SMALL, *short, "--validation", 4)
    assert (about["size"], about["resize"]) == (16, "stretch")
    first = tmp_path / "acl" / "model.pt"
    assert load_network(first).spec.size == 16
    tune = ("finetune", "slf", "--from", first, "--out", tmp_path / "slf", "--data", data, *short)
    result(*tune, *SMALL)
    second = tmp_path / "slf" / "model.pt"
    assert load_network(second).about["size"] == 16
    found = result("evaluate", "--from", second, "--data", data, *SMALL, "--attacks", "none", "--device", "cpu")
    assert (found["n"], found["size"]) == (4, 16)
    refused = command("evaluate", "--from", second, "--data", data, "--attacks", "none", "--device", "cpu")
    assert isinstance(refused.exception, DataError)
    assert "images of 3 channels and 96 pixels, the network takes 3 and 16" in str(refused.exception)
    index = tmp_path / "coreset.npz"
    choose = ("--selector", "zcore", "--count", 5, "--validation", 4, "--warmup-epochs", 0, "--device", "cpu")
    result("select", "--data", data, *SMALL, *choose, "--out", index)
    assert len(Selection.load(index).indices) == 5
    told = command("inspect", index, "--data", data, *SMALL)
    assert told.exit_code == 0
    assert "fingerprint of the pool differs" not in told.stderr
    ours = result("evaluate", "--from", second, "--data", data, *SMALL, "--corruptions", "ours", "--severities", "1,5",
                  "--attacks", "none", "--device", "cpu")["corruptions"]  # fmt: skip
    assert ours["source"] == "ours, with the constants of CIFAR-10-C"
    assert len(ours["accuracy"]) == 15
    assert set(ours["by_severity"]) == {"1", "5"}

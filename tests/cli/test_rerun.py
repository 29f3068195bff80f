"""An index file says how it was made: `rerun` gives the same picks, or says which of its inputs changed."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
import stage
import torch
from typer.testing import CliRunner

from coreselect import Selection
from coreselect.cli.app import build
from coreselect.cli.rerun_run import request_of, same_picks
from coreselect.errors import RequirementError

DATA = """
import torch
from torch.utils.data import TensorDataset

def images(split):
    x = torch.rand(60, 1, 6, 6, generator=torch.Generator().manual_seed({seed}))
    return TensorDataset(x, torch.arange(60) % 3)
"""
NET = """
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.{act}(), nn.Linear(8, 3))
"""
WORDS = ["--data", "data.py:images", "--model", "net.py:make", "--checkpoint", "w.pt", "--device", "cpu"]
WORDS += ["--fraction", "0.2", "--validation", "10"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data, a network and its weights, in the folder in which commands are called."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.py").write_text(DATA.format(seed=0))
    (tmp_path / "net.py").write_text(NET.format(act="ReLU"))
    weights(tmp_path, 0)
    return tmp_path


def weights(folder: Path, seed: int) -> None:
    """Write weights of the network."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    torch.save(net.state_dict(), folder / "w.pt")


def run(*words: object) -> Any:
    """Run `coreselect` in this process."""
    return CliRunner().invoke(build(), [str(word) for word in words], env={"COLUMNS": "200"})


def made(*words: object) -> Selection:
    """Select into a.npz."""
    got = run("select", *WORDS, "--out", "a.npz", *words)
    assert got.exit_code == 0, got.output
    return Selection.load("a.npz")


def differing(result: Any) -> dict[str, Any]:
    """What `rerun --json` found to have changed."""
    return {one["what"]: one for one in json.loads(result.stdout)["compared"] if not one["same"]}


@pytest.mark.parametrize(
    "more", [(), ("--selector", "craig", "--seed", 3, "--per-class"), ("--eta", 0.1, "--rows", 40)]
)
def test_the_same_command_gives_the_same_picks(folder: Path, more: tuple[object, ...]) -> None:
    """Nothing has changed: every row is the same, and a second file holds the same picks and the same command."""
    first = made(*more)
    got = run("rerun", "a.npz", "--out", "b.npz", "--json")
    assert got.exit_code == 0, got.output
    assert json.loads(got.stdout)["same"] is True
    assert differing(got) == {}
    again = Selection.load("b.npz")
    np.testing.assert_array_equal(again.source_indices, first.source_indices)
    assert {**again.provenance.command, "line": ""} == {**first.provenance.command, "line": ""}


def test_the_file_names_what_it_was_made_from(folder: Path) -> None:
    """Data, model and checkpoint by name and digest, validation, the command line, and versions."""
    command = made("--store", "rows").provenance.command
    assert command["name"] == "select"
    assert command["line"].startswith("coreselect select --out a.npz --data data.py:images")
    assert {name: found["name"] for name, found in command["inputs"].items()} == {
        "data": "data.py:images", "model": "net.py:make", "checkpoint": "w.pt",
    }  # fmt: skip
    assert all(len(found["digest"]) == 32 for found in command["inputs"].values())
    assert command["validation"] == {"size": 10.0, "seed": 0, "examples": 10}
    assert command["model"] == {"model": "net.py:make", "checkpoint": "w.pt"}
    assert "coreselect select" in run("inspect", "a.npz").stdout


def test_a_precision_that_was_measured_is_repeated_by_its_name(folder: Path) -> None:
    """`--precision auto` is recorded as what it chose, so that another machine does not choose again."""
    chosen = made("--precision", "auto").provenance.command["options"]["precision"]
    assert chosen in ("fp32", "bf16")
    got = run("rerun", "a.npz", "--json")
    assert got.exit_code == 0, got.output
    assert json.loads(got.stdout)["same"] is True
    assert "which gives this selection again" not in got.stderr


def test_what_changed_is_said(folder: Path) -> None:
    """Other weights, another source of the network, other data: each is named, and other picks end with exit code 1."""
    made()
    (folder / "net.py").write_text(NET.format(act="Tanh"))
    (folder / "data.py").write_text(DATA.format(seed=1))
    weights(folder, 1)
    got = run("rerun", "a.npz", "--json")
    assert got.exit_code == 1
    assert set(differing(got)) == {
        "--data data.py:images", "--model net.py:make", "--checkpoint w.pt", "pool", "weights of the model",
    }  # fmt: skip
    assert "of 10 differ, the first at pick" in json.loads(got.stdout)["picks"]
    shown = run("rerun", "a.npz")
    assert "--checkpoint w.pt changed" in shown.stderr
    assert "the picks are others" in shown.stdout


def test_a_comment_in_the_source_changes_its_digest_and_not_the_picks(folder: Path) -> None:
    """The digest is of bytes: it says that the file is another, and the picks say that it makes no difference."""
    made()
    (folder / "net.py").write_text(NET.format(act="ReLU") + "# a comment\n")
    got = run("rerun", "a.npz", "--json")
    assert got.exit_code == 0
    assert set(differing(got)) == {"--model net.py:make"}


def test_other_versions_are_said(folder: Path) -> None:
    """A file that another version of torch has made."""
    first = made()
    versions = {**first.provenance.versions, "torch": "1.0"}
    replace(first, provenance=replace(first.provenance, versions=versions)).save("a.npz")
    assert differing(run("rerun", "a.npz", "--json"))["torch"]["then"] == "1.0"


def test_a_selection_over_arrays_and_one_of_several_methods(folder: Path) -> None:
    """Arrays are known by their digests; of several methods, the one of the file is run again."""
    features = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    np.save("f.npy", features)
    got = run("select", "--features", "f.npy", "--count", 8, "--selectors", "k_center,random", "--out", "both")
    assert got.exit_code == 0, got.output
    assert run("rerun", "both/k_center.npz").exit_code == 0
    np.save("f.npy", features[::-1].copy())
    got = run("rerun", "both/k_center.npz", "--json")
    assert set(differing(got)) == {"--features f.npy", "pool"}
    assert Selection.load("both/random.npz").provenance.command["selector"] == "random"


def test_a_selection_of_image_files_names_them_and_runs_again(folder: Path) -> None:
    """Paths from the folder that --data names, and labels, are in the file and in a table; `--rows` keeps them right."""
    pytest.importorskip("PIL", reason="image folders need coreselect[data]")
    stage.photos(folder / "photos", classes=("barn", "cat"), side=8)
    words = ["select", "--data", "photos", "--rows", 20, "--arch", "small", "--warmup-epochs", 0, "--count", 6]
    words += ["--validation", 4, "--selector", "craig"]
    got = run(*words, "--device", "cpu", "--out", "a.npz")
    assert got.exit_code == 0, got.output
    made = Selection.load("a.npz")
    assert made.files is not None
    assert all((folder / "photos" / file).is_file() for file in made.files)
    assert [file.split("/")[1] for file in made.files] == [("barn", "cat")[label] for label in made.labels]  # type: ignore[union-attr]
    assert run("rerun", "a.npz").exit_code == 0


def test_a_file_without_a_command_is_refused(tmp_path: Path) -> None:
    """A call from Python, and a file of an older version, say in a sentence that nothing can be run again."""
    fakes.selection().save(tmp_path / "a.npz")
    got = run("rerun", tmp_path / "a.npz")
    assert isinstance(got.exception, RequirementError)
    assert "does not say by which command" in str(got.exception)


def test_an_option_of_a_newer_version_is_refused_unless_it_is_unset(folder: Path) -> None:
    """What would change the run and is not known here is named; what was not given may be missing."""
    command = made().provenance.command
    newer = {**command, "options": {**command["options"], "taste": "sweet", "smell": None}}
    with pytest.raises(RequirementError, match="taste, which this version does not have"):
        request_of(newer, folder)
    older = {**command, "options": {k: v for k, v in command["options"].items() if k != "read_timeout"}}
    assert request_of(older, folder).machine.read_timeout == 0.0


def test_picks_are_compared_in_words() -> None:
    """The same picks, another order, another number, other picks."""
    one = fakes.selection()
    turned = replace(one, source_indices=one.source_indices[::-1].copy())
    other = replace(one, source_indices=np.where(np.arange(12) == 3, 999, one.source_indices))
    assert same_picks(one, one) is None
    assert same_picks(one, turned) == "the same set in another order, from pick 1 on"
    assert same_picks(one, other) == "1 of 12 differ, the first at pick 4"
    assert same_picks(one, fakes.selection(k=9)) == "9 instead of 12"

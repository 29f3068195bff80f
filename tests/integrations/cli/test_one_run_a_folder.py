"""One process at a time works in the folder of a run: every command that keeps one refuses a second before data are read."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect.cli.options import DataOptions
from coreselect.errors import DataError
from coreselect.io import sole_use
from coreselect.io.folder_lock import FolderLock
from coreselect_integrations.training.runs import Run

COMMANDS = {
    "train": ("train", "sat"), "compare": ("compare",), "race": ("race",),
    "finetune": ("finetune", "slf", "--from", "no.pt"),
    "tables": ("finetune", "slf,alf", "--from", "no.pt"),
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_in_use_is_refused(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence names the process; once the folder is free, the command goes on, to its next refusal."""

    def read(*args: Any, **settings: Any) -> None:
        raise DataError("data were read")

    monkeypatch.setattr(DataOptions, "read", read)
    other = FolderLock(tmp_path / "run")  # as another process holds it: this one does not know of it
    words = [*COMMANDS[command], "--out", str(tmp_path / "run")]
    got = CliRunner().invoke(build(), words)
    assert isinstance(got.exception, DataError)
    assert f"{tmp_path / 'run'} is in use by process " in str(got.exception)
    other.release()
    got = CliRunner().invoke(build(), words)
    assert isinstance(got.exception, DataError)
    assert "in use" not in str(got.exception)
    assert list(tmp_path.iterdir()) == []  # a refused command leaves no folder


def test_an_index_file_that_another_process_makes_is_refused(tmp_path: Path) -> None:
    """`select` says who makes it; another file in the same folder is nobody's business."""
    words = ["select", "--count", "3", "--data", str(tmp_path / "nowhere"), "--out"]
    other = FolderLock(tmp_path, name=".c.npz.lock")
    got = CliRunner().invoke(build(), [*words, str(tmp_path / "c.npz")])
    assert "c.npz is in use by process " in str(got.exception)
    got = CliRunner().invoke(build(), [*words, str(tmp_path / "d.npz")])
    assert "nowhere" in str(got.exception)
    other.release()
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_the_library_holds_its_folder(tmp_path: Path) -> None:
    """From `Run.open` on, and no longer than the run lives."""
    run = Run.open(tmp_path, {}, {})
    with pytest.raises(DataError, match="in use by process"):
        sole_use.FolderLock(tmp_path, error=DataError)
    del run
    FolderLock(tmp_path).release()


def test_a_store_in_use_is_refused_before_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where only the folder of one round is held; what cannot be a store is refused as early, and nothing stays."""

    def read(*args: Any, **settings: Any) -> None:
        raise DataError("data were read")

    monkeypatch.setattr(DataOptions, "read", read)
    words = ["train", "sat", "--selector", "rcs", "--out", str(tmp_path / "run"), "--store"]
    for held in (tmp_path / "rows", tmp_path / "rows" / "round-000004"):
        other = FolderLock(held)
        got = CliRunner().invoke(build(), [*words, str(tmp_path / "rows")])
        assert f"{held} is in use by process " in str(got.exception)
        other.release()
    got = CliRunner().invoke(build(), [*words, str(tmp_path / "rows")])
    assert "data were read" in str(got.exception)
    (tmp_path / "file").write_text("")
    got = CliRunner().invoke(build(), [*words, str(tmp_path / "file" / "rows")])
    assert "--store" in str(got.exception)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]

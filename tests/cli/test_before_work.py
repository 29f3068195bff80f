"""What a command cannot write, or cannot mean, is refused before any work: nothing is read, warmed up or swept."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect.cli.options import DataOptions
from coreselect.errors import DataError
from coreselect.io.atomic import check_target


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a file, a folder and a pipe in it."""
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe.npz")
    return tmp_path


REFUSED = {
    "folder.npz": "is a folder",
    "file/c.npz": "below",
    "file/a/b/c.npz": "below",
    "pipe.npz": "no ordinary file",
}


@pytest.mark.parametrize("target", REFUSED)
def test_a_place_for_no_file_is_refused(target: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the function, and by `select --out` and `--save-model` before data are read."""
    with pytest.raises(DataError, match=REFUSED[target]):
        check_target(place / target)

    def read(*args: Any, **settings: Any) -> None:
        raise AssertionError("data were read")

    monkeypatch.setattr(DataOptions, "read", read)
    for words in (["--out", str(place / target)], ["--out", str(place / "c.npz"), "--save-model", str(place / target)]):
        got = CliRunner().invoke(build(), ["select", "--count", "3", *words])
        assert isinstance(got.exception, DataError), got.output
        assert REFUSED[target] in str(got.exception)


def test_a_folder_that_is_closed_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read-only file system says so through `os.access`, also to an administrator."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(DataError, match="closed to this user"):
        check_target(place / "new" / "c.npz")


def test_places_that_can_be_written_pass(place: Path) -> None:
    """A new file, a file that is replaced, a link to one, and a file in folders that will be made."""
    (place / "link.npz").symlink_to(place / "file")
    for target in ("c.npz", "file", "link.npz", "new/deeper/c.npz"):
        check_target(place / target)
    assert not (place / "new").exists()


@pytest.mark.parametrize(
    "words", [("--seed", "-1"), ("--seed", str(2**64)), ("--validation", "inf"), ("--radius", "nan")]
)
@pytest.mark.parametrize("command", ["select", "train", "fidelity"])
def test_numbers_that_mean_nothing_are_wrong_usage(command: str, words: tuple[str, str], tmp_path: Path) -> None:
    """Exit code 2, with the name of the option."""
    start = {"select": ["select", "--count", "3", "--out", str(tmp_path / "c.npz")], "train": ["train", "sat"]}
    got = CliRunner().invoke(build(), [*start.get(command, [command]), *words])
    assert got.exit_code == 2, got.output
    assert words[0] in got.output


def test_an_index_file_is_written_where_it_may(place: Path) -> None:
    """The check is not in the way of what works."""
    np.save(place / "features.npy", np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32))
    words = ["select", "--features", str(place / "features.npy"), "--selector", "k_center", "--count", "3"]
    got = CliRunner().invoke(build(), [*words, "--out", str(place / "new" / "c.npz")])
    assert got.exit_code == 0, got.output

"""A small seeded part of the stress driver: kills, damaged files and the table find nothing, and what is wrong would be found."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("kornia")
pytest.importorskip("sklearn", reason="digits come with scikit-learn")
if not hasattr(os, "fork"):
    pytest.skip("the driver forks", allow_module_level=True)

from benchmarks.stress import files, kills
from benchmarks.stress.files import KINDS, damaged
from benchmarks.stress.jobs import JOBS, half_files, leftovers
from benchmarks.stress.readers import READERS, Reader

ROOT = Path(__file__).parents[2]


def stress(*words: object) -> list[dict[str, Any]]:
    """Run the driver in a process of its own, since a process that has computed cannot be forked safely."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.stress", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, (found, done.stderr[-2000:])
    return found


def test_a_small_part_finds_nothing() -> None:
    """Two kills of a selection, and some damaged files for every reader; all outcomes are counted."""
    parts = {
        part["part"]: part["counts"]
        for part in stress("--only", "files", "kills", "--files", 60, "--kills", 2, "--jobs", "select")
    }
    assert sum(parts["files"].values()) == 60
    assert parts["files"]["refused"] > 30
    assert parts["kills"]["killed"] == 2
    assert parts["kills"]["same result"] >= 1


def test_what_is_wrong_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that raises, one that hangs, one that believes everything, and one that runs what it reads."""

    def made(folder: Path) -> Path:
        (folder / "a").write_bytes(b"good 12345")
        return folder / "a"

    def raises(path: Path) -> bytes:
        data = path.read_bytes()
        if data != b"good 12345":
            raise ZeroDivisionError
        return data

    def runs(path: Path) -> int:
        if path.read_bytes() != b"good 12345":
            (path.parents[1] / "ran").write_text("")
        return 0

    def hangs(path: Path) -> bytes:
        while path.read_bytes() != b"good 12345":
            pass
        return b""

    bad = {
        "raises": Reader(made, raises), "believes": Reader(made, Path.read_bytes, verified=True), "runs": Reader(made, runs),
        "hangs": Reader(made, hangs),
    }  # fmt: skip
    monkeypatch.setattr(files, "READERS", bad)
    monkeypatch.setattr(files, "SECONDS", 0.2)
    counts, wrong = files.run(12, 0, tmp_path)
    assert set(counts) <= {"traceback", "difference", "code run", "hang", "same content"}
    assert all(counts[kind] >= 2 for kind in ("traceback", "difference", "code run", "hang"))
    assert len(wrong) == 12 - counts["same content"]


def test_damages_are_seeded_and_of_every_kind(tmp_path: Path) -> None:
    """The same draws give the same file, and a few hundred have all kinds."""
    good, seen = bytes(range(256)) * 4, set()
    for i in range(300):
        one = damaged(good, random.Random(i), tmp_path)
        assert one == damaged(good, random.Random(i), tmp_path)
        seen.add(one[0])
    assert seen == set(KINDS)
    assert len(READERS) >= 20


def test_half_files_and_leftovers_are_found(tmp_path: Path) -> None:
    """A cut file under its own name, a temporary file and a lock."""
    (tmp_path / "results.json").write_text("{")
    (tmp_path / "last.pt").write_bytes(b"PK\3\4")
    (tmp_path / ".coreselect-0.tmp").write_bytes(b"half")
    (tmp_path / ".coreselect.lock").write_bytes(b"")
    assert [words.split(":")[0] for words in half_files(tmp_path)] == ["last.pt", "results.json"]
    assert sorted(leftovers(tmp_path)) == [".coreselect-0.tmp", ".coreselect.lock"]
    assert set(JOBS) == {"select", "sweep", "train", "finetune", "compare"}
    assert kills.MOST >= 2

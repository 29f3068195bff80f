"""Whole experiments are cells of commands: each step once, failures recorded, tables paired by seed."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pipelines
from benchmarks.pipelines import STUDIES, Cell


class Commands:
    """Stands in for the command line: leaves what each command leaves, and counts them."""

    def __init__(self, fails: str = "") -> None:
        self.seen: list[list[str]] = []
        self.fails, self.others = fails, subprocess.run

    def __call__(self, command: list[str], **more: Any) -> Any:
        if command[1:3] != ["-m", "coreselect.cli"]:
            return self.others(command, **more)
        words = command[3:]
        self.seen.append(words)
        bad = bool(self.fails) and words[0] == self.fails
        if not bad and "--out" in words:
            folder = Path(words[words.index("--out") + 1])
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "model.pt").touch()
            line = {
                "loss": 1.0,
                "seconds": 2.0,
                "select_seconds": 0.5,
                "seen": 0.4,
                "trouble": ["so (0.1)", "so (0.2)"],
            }
            (folder / "log.jsonl").write_text(json.dumps(line) + "\n" + json.dumps(line) + "\n")
        found = {"standard": 0.5, "n": 100, "pgd20": {"robust": 0.25}}
        return type("Done", (), {"returncode": int(bad), "stdout": json.dumps(found), "stderr": "refused: no"})()


def test_a_cell_is_done_once_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SAT: train, judge, two ways of tuning, each judged; a second call runs nothing and records the same."""
    commands = Commands()
    monkeypatch.setattr(pipelines.subprocess, "run", commands)
    cell = Cell("small", "sat", "rcs", 1)
    record = pipelines.run(cell, tmp_path, "some/data")
    assert [words[0] for words in commands.seen] == [
        "train", "evaluate", "finetune", "evaluate", "finetune", "evaluate",
    ]  # fmt: skip
    assert record["error"] is None
    assert record["accuracy"]["alf"] == {"standard": 0.5, "pgd20": 0.25, "n": 100}
    assert (record["train_seconds"], record["select_seconds"], record["trouble"]) == (4.0, 1.0, ["so"])
    assert all(str(tmp_path) not in c and "some/data" not in c for c in record["commands"])
    again = pipelines.run(cell, tmp_path, "some/data")
    assert len(commands.seen) == 6
    assert again["accuracy"] == record["accuracy"]


def test_contrastive_networks_are_judged_by_fine_tuning_alone(tmp_path: Path) -> None:
    """There is no classifier to evaluate before."""
    kinds = [command[0] for _, command in Cell("small", "acl", "rs2", 0).steps(tmp_path, "d")]
    assert kinds == ["train", "finetune", "evaluate", "finetune", "evaluate"]


def test_a_failure_is_a_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after it is not tried, and it is tried anew by the next call."""
    commands = Commands(fails="finetune")
    monkeypatch.setattr(pipelines.subprocess, "run", commands)
    record = pipelines.run(Cell("small", "sat", "rs2", 0), tmp_path, "d")
    assert "refused: no" in record["error"]
    assert [words[0] for words in commands.seen] == ["train", "evaluate", "finetune"]
    commands.fails = ""
    assert pipelines.run(Cell("small", "sat", "rs2", 0), tmp_path, "d")["error"] is None


def test_the_table_pairs_methods_by_seed() -> None:
    """By hand: rcs is 1 and 3 points above rs2 on two seeds, 2 ± 1.4."""

    def record(selector: str, seed: int, robust: float) -> dict[str, Any]:
        found = {"alf": {"standard": 0.5, "pgd20": robust, "n": 10}}
        return {
            "study": "small", "system": "acl", "selector": selector, "seed": seed, "error": None, "accuracy": found,
            "train_seconds": 10.0, "select_seconds": 1.0,
        }  # fmt: skip

    rows = [record("rs2", 0, 0.20), record("rs2", 1, 0.22), record("rcs", 0, 0.21), record("rcs", 1, 0.25)]
    shown = pipelines.table(rows).splitlines()
    assert "| rcs | 2 | alf | 50.0 ± 0.0 | 23.0 ± 2.8 | +2.0 ± 1.4 |" in shown[3]
    assert "| rs2 | 2 | alf | 50.0 ± 0.0 | 21.0 ± 1.4 | - |" in shown[2]


def test_committed_results_are_whole() -> None:
    """Every line is a finished cell of a declared study, with its commands, and names no folder of a machine."""
    files = sorted((Path(pipelines.__file__).parent / "results" / "pipelines").glob("*.jsonl"))
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            found = json.loads(line)
            assert found["study"] in STUDIES
            assert found["commands"]
            assert found["error"] is None
            assert "/tmp" not in line

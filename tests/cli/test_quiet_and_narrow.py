"""Every command can be quiet and can print JSON, and narrow terminals lose no name."""

import json
from importlib.metadata import entry_points
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.table import Table
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect.cli.whole_tables import print_whole
from coreselect.selectors.catalogue import list_selectors

COMMANDS = {entry.name: entry for entry in entry_points(group="coreselect.commands")}


def run(*words: object, columns: int = 80) -> Any:
    return CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": str(columns)})


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_quiet_and_json(name: str) -> None:
    """Both are in its help; `--json` is its own, `--quiet` is added to all in one place."""
    shown = run(name, "--help").stdout
    assert "--quiet" in shown
    assert "--json" in shown
    assert "json" in signature(COMMANDS[name].load()).parameters


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A selection in a file with brackets in its name, which markup would swallow."""
    np.save(tmp_path / "f.npy", np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32))
    out = tmp_path / "[red]c.npz"
    got = run("select", "--features", tmp_path / "f.npy", "--selector", "k_center", "--count", 5, "--out", out)
    assert got.exit_code == 0, got.output
    assert "[red]c.npz" in got.stderr
    return out


def test_a_quiet_command_says_only_its_result(index: Path) -> None:
    """Nothing on stderr; the result on stdout; and an error is still an error."""
    words = ("select", "--features", index.parent / "f.npy", "--selector", "k_center", "--count", 5, "--out", index)
    loud, quiet = run(*words, "--json"), run(*words, "--json", "--quiet")
    assert loud.stderr
    assert quiet.stderr == ""
    assert json.loads(quiet.stdout)["file"] == json.loads(loud.stdout)["file"]
    assert run("inspect", index.parent / "none.npz", "--quiet").exit_code == 1
    assert "--count" in run(*words[:6], 0, *words[7:], "--quiet").stderr


def test_convert_prints_json(index: Path) -> None:
    """Which file was written, and what of the selection it holds."""
    got = run("convert", index, index.with_suffix(".txt"), "--json")
    target = str(index.with_suffix(".txt"))
    assert json.loads(got.stdout) == {"source": str(index), "target": target, "indices": 5, "columns": ["index"]}


def test_forty_columns_keep_the_names(index: Path) -> None:
    """Of the methods and of the parts of a selection; and a path with brackets is printed as it is."""
    shown = run("methods", columns=40).stdout
    assert all(name in shown for name in list_selectors())
    shown = run("inspect", index, columns=40).stdout
    assert "…" not in shown
    assert all(word in shown for word in ("selection", "certificate", "provenance", "k_center"))
    shown = run("inspect", index, index, columns=40).stdout
    assert "[red]c.npz" in shown.replace("\n", "").replace(" ", "")


def test_a_column_that_is_not_broken_keeps_its_widest_cell(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line is longer than 40 columns rather than a number with a spread cut off."""
    monkeypatch.setenv("COLUMNS", "40")
    table = Table(box=None)
    for name in ("arm", "robust %", "behind"):
        table.add_column(name, no_wrap=True)
    table.add_row("craig:target=validation 0.3 1x1.5-nfgsm", "92.3 ± 1.5", "15.4 ± 10.3")
    print_whole(table)
    shown = capsys.readouterr().out
    assert all(cell in shown for cell in ("craig:target=validation 0.3 1x1.5-nfgsm", "92.3 ± 1.5", "15.4 ± 10.3"))

"""The demo runs its four methods on real digits, shows what came out, and keeps the index file and the picture."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from coreselect import Selection
from coreselect.data import load
from coreselect_integrations.cli.demo import demo
from coreselect_integrations.cli.demo_run import DIGITS, METHODS, against, table
from coreselect_integrations.comparison.statistics import WARM

pytest.importorskip("sklearn", reason="digits come with scikit-learn")
pytest.importorskip("matplotlib")
runner = CliRunner()
SMALL = ("--seeds", "1", "--epochs", "1", "--warmup-epochs", "1", "--every", "1")


def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(demo)
    return app


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The JSON of a tiny run, and the folder that it wrote to."""
    folder = tmp_path_factory.mktemp("demo")
    result = runner.invoke(command(), ["--out", str(folder), *SMALL, "--json"])
    assert result.exit_code == 0, result.output
    return folder, json.loads(result.stdout)


def test_every_method_is_trained_for_as_many_updates(told: tuple[Path, dict[str, Any]]) -> None:
    """One warm model and four methods; 124 images in batches of 32 are 4 updates an epoch."""
    runs = told[1]["runs"]
    assert [r["method"] for r in runs] == [WARM, *METHODS]
    assert [r["updates"] for r in runs] == [0, 4, 4, 4, 4]
    assert all(0 <= r["robust"] <= r["standard"] <= 1 for r in runs)


def test_seconds_are_each_methods_own(told: tuple[Path, dict[str, Any]]) -> None:
    """The seconds of the warm-up count for the warm model only: 1,242 images take longer than 124."""
    runs = told[1]["runs"]
    assert all(0 < r["train_seconds"] < runs[0]["train_seconds"] for r in runs[1:])
    assert runs[0]["select_seconds"] < min(r["select_seconds"] for r in runs[1:])


def test_the_command_writes_index_file_and_picture(told: tuple[Path, dict[str, Any]]) -> None:
    """The selection of rcs, a tenth of the pool in at least eight groups, with where it came from, and its gallery."""
    folder, said = told
    assert set(said) == {"setting", "runs", "reference", "files", "seconds"}
    assert [Path(f).exists() for f in said["files"]] == [True, True]
    selection = Selection.load(folder / "coreset.npz")
    assert (len(selection), selection.provenance.selector, selection.provenance.pool_size) == (124, "rcs", 1242)
    assert said["runs"][-1]["picks"] == len(set(selection.groups.tolist())) >= 8


def test_no_run_is_left_behind(told: tuple[Path, dict[str, Any]]) -> None:
    """Cells are kept in a temporary folder: a second run finds nothing of the first."""
    assert {p.name for p in told[0].iterdir()} == {"coreset.npz", "coreset.png"}


def test_the_published_demo_picks_at_least_eight_groups() -> None:
    """10 % of the pool, cut into groups as `group_size=None` does, is at least eight of them."""
    k = int(DIGITS.fraction * (len(load("digits", "train")) - int(DIGITS.validation)))
    assert k // min(64, k // 8) >= 8


def run(method: str, seed: int, standard: float, robust: float, select: float = 0.0) -> dict[str, Any]:
    return {
        "method": method, "seed": seed, "standard": standard, "robust": robust, "train_seconds": 1.0,
        "select_seconds": select,
    }  # fmt: skip


RUNS = (
    run(WARM, 0, 0.9, 0.5), run("rs2", 0, 0.8, 0.6), run("rs2", 1, 0.9, 0.7), run("rcs", 0, 0.82, 0.59, 0.5),
    run("rcs", 1, 0.90, 0.67, 0.5),
)  # fmt: skip


def test_differences_are_paired_by_seed() -> None:
    """rcs − rs2, seed by seed, in points: 2 and 0, −1 and −3."""
    assert against(RUNS, "rcs", "standard") == "+1.0 ± 1.4"
    assert against(RUNS, "rcs", "robust") == "-2.0 ± 1.4"
    assert [against(RUNS, name, "robust") for name in (WARM, "rs2")] == ["-", "-"]


def test_the_table_shows_training_and_selection_apart() -> None:
    """There is one row for each method, and the warm model comes first."""
    rows = table(RUNS, DIGITS)

    assert rows.row_count == 3
    assert [str(c.header) for c in rows.columns][-2:] == ["train s", "select s"]
    assert list(rows.columns[0].cells) == ["warm model", "rs2", "rcs"]
    assert list(rows.columns[2].cells) == ["-", "-", "+1.0 ± 1.4"]
    assert list(rows.columns[6].cells) == ["0.00", "0.00", "0.50"]


def test_the_published_demo_is_what_the_command_does_by_default() -> None:
    """The defaults of the options are those of the settings."""
    defaults = {name: p.default for name, p in inspect.signature(demo).parameters.items()}
    assert (defaults["warmup_epochs"], defaults["every"]) == (DIGITS.warmup, DIGITS.every)
    assert defaults["epochs"] + defaults["warmup_epochs"] == DIGITS.epochs

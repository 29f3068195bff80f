"""The demo runs its four methods on real digits, shows what came out, and keeps the index file and the picture."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from coreselect import Selection, holdout
from coreselect.data import ImageSet, load
from coreselect_integrations.cli.demo import DIGITS, demo, methods, paired, spread, table
from coreselect_integrations.comparison import WARM, Run, Setting, compare

TINY = Setting(radius=0.1, budget=40, validation=60, warmup=1, epochs=2, every=1, attack_steps=1, batch_size=128)
runner = CliRunner()


def digits() -> tuple[ImageSet, ImageSet]:
    """The first of the real ones."""
    return load("digits", "train").first(300), load("digits", "test").first(100)


def command() -> typer.Typer:
    app = typer.Typer()
    app.command()(demo)
    return app


@pytest.fixture(scope="module")
def comparison():
    return compare(*digits(), methods(0.1), TINY, seeds=(0,))


def test_every_method_starts_from_the_same_warm_model(comparison) -> None:
    """One warm model and four methods a seed, each trained for the same number of updates."""
    assert [r.method for r in comparison.runs] == [WARM, "rs2", "redraw", "random", "rcs"]
    assert {r.updates for r in comparison.runs[1:]} == {2}
    assert all(0 <= r.robust <= r.standard <= 1 for r in comparison.runs)


def test_selections_meet_the_budget_and_stay_in_the_pool(comparison) -> None:
    """Forty examples each, never validation, and at least eight groups picked by RCS."""
    train, _ = digits()
    _, validation = holdout(train, TINY.validation, seed=0)
    held = validation.indices
    for selection in comparison.selections.values():
        assert len(selection) == 40
        assert selection.provenance.pool_size == len(train) - TINY.validation
        assert not set(selection.source_indices.tolist()) & set(held)
    assert comparison.runs[-1].picks >= 8


def test_a_comparison_is_decided_by_its_seeds(comparison) -> None:
    """Run again with one method only, it gives the same accuracies."""
    again = compare(*digits(), {"rcs": methods(0.1)["rcs"]}, TINY, seeds=(0,))
    known = {r.method: (r.standard, r.robust) for r in comparison.runs}

    assert [(r.standard, r.robust) for r in again.runs] == [known[WARM], known["rcs"]]
    assert (again.selections["rcs"].indices == comparison.selections["rcs"].indices).all()


def test_the_published_demo_picks_at_least_eight_groups() -> None:
    """10 % of the pool, cut into groups as `group_size=None` does, is at least eight of them."""
    pool = len(load("digits", "train")) - int(DIGITS.validation)  # type: ignore[arg-type]  # map-style
    k = int(DIGITS.budget * pool)

    assert k // min(64, k // 8) >= 8


def test_the_command_writes_index_file_and_picture(tmp_path: Path) -> None:
    """A tiny run leaves a complete index file and a picture, and prints records that JSON can read."""
    small = ["--out", str(tmp_path), "--seeds", "1", "--epochs", "1", "--warmup-epochs", "1", "--every", "1", "--json"]
    result = runner.invoke(command(), small)

    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [Path(f).exists() for f in told["files"]] == [True, True]
    assert len(told["runs"]) == 5
    assert len(Selection.load(tmp_path / "coreset.npz")) == 124


RUNS = (
    Run(WARM, 0, 0.9, 0.5, 3.0, 0.0),
    Run("rs2", 0, 0.8, 0.6, 1.0, 0.0),
    Run("rs2", 1, 0.9, 0.7, 1.0, 0.0),
    Run("rcs", 0, 0.82, 0.59, 1.0, 0.5),
    Run("rcs", 1, 0.90, 0.67, 1.0, 0.5),
)


def test_differences_are_paired_by_seed() -> None:
    """rcs − rs2, seed by seed, in points."""
    assert paired(RUNS, "rcs", "standard") == pytest.approx([2.0, 0.0])
    assert paired(RUNS, "rcs", "robust") == pytest.approx([-1.0, -3.0])


def test_spread_is_left_out_where_there_is_none() -> None:
    """One value has a mean only."""
    assert spread([2.0]) == "2.0"
    assert spread([1.0, 3.0], "+") == "+2.0 ± 1.4"


def test_the_table_shows_training_and_selection_apart() -> None:
    """One row a method, whatever the numbers say."""
    rows = table(RUNS, TINY)

    assert rows.row_count == 3
    assert [str(c.header) for c in rows.columns][-2:] == ["train s", "select s"]
    assert list(rows.columns[2].cells) == ["-", "-", "+1.0 ± 1.4"]

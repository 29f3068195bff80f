"""`coreselect race` as a user sees it: what it prints, writes and refuses."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from coreselect.errors import RequirementError
from coreselect_integrations.cli import race_run
from coreselect_integrations.cli.race import race
from coreselect_integrations.cli.race_table import forecast_lines, show
from coreselect_integrations.networks import load_network
from coreselect_integrations.pretraining import forecast
from coreselect_integrations.racing import costs
from coreselect_integrations.racing.arms import Arm
from coreselect_integrations.racing.plan import Budget, Cost
from coreselect_integrations.racing.race import Outcome
from coreselect_integrations.training.effort import Effort

pytest.importorskip("sklearn", reason="digits come with scikit-learn")
SHORT = (
    "--rows", 100, "--validation", 20, "--judge-on", 10, "--batch-size", 32, "--arms", "rs2", "--fractions", "0.5,1", "--efforts",
    "1x1.5", "--num-threads", 1,
)  # fmt: skip


def command(*words: object) -> Any:
    """Run the command in this process; an application of one command, so it need not be installed."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(race)
    return CliRunner().invoke(app, [str(w) for w in words], env={"COLUMNS": "80"})


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image in training takes a hundredth of a second, whatever it takes."""
    monkeypatch.setattr(costs, "seconds_of_an_image", lambda *args, **more: 0.01)
    monkeypatch.setattr(forecast, "seconds_of_an_image", lambda *args, **more: 0.01)


def test_the_plan_and_the_runs_are_on_stderr_and_the_ranking_on_stdout(tmp_path: Path, timed: None) -> None:
    """It says beforehand what it will spend, a line a run, and ends with the ranking, a network and a record."""
    got = command("--out", tmp_path, *SHORT, "--hours", 8 / 3600)
    assert got.exit_code == 0, got.output
    assert "2 arms for 0.00222222 hours" in got.stderr
    assert "rung 1: 2 arms, " in got.stderr
    assert "last training: " in got.stderr
    assert got.stderr.count("attacked") >= 3
    for word in ("rs2 0.5 1x1.5", "full 1x1.5", "distinguishable from the winner", f"wrote {tmp_path / 'model.pt'}"):
        assert word in got.stdout
    found = json.loads((tmp_path / "race.json").read_text())
    assert {o["arm"] for o in found["ranking"]} == {"rs2 0.5 1x1.5", "full 1x1.5"}
    assert (found["data"], found["judged"], found["pool_size"]) == ("digits", 10, 70)
    assert load_network(tmp_path / "model.pt").about["system"] == "sat"

    again = command("--out", tmp_path, *SHORT, "--hours", 8 / 3600, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["runs"] == found["runs"]


def test_a_dry_run_says_what_the_race_would_spend_and_writes_nothing(tmp_path: Path, timed: None) -> None:
    """Rungs, arms, seconds each and the last training, in lines or as JSON."""
    words = ("--out", tmp_path / "race", *SHORT, "--hours", 1, "--dry-run")
    got = command(*words)
    assert got.exit_code == 0, got.output
    assert "rung 1: 2 arms, 15 min 00 s each, 30 min 00 s in all; from " in got.stdout
    assert "last training: 28 min 48 s for the winner; 1 h 00 min in all" in got.stdout
    assert not (tmp_path / "race").exists()
    found = json.loads(command(*words, "--json").stdout)
    assert found["rungs"] == [{"arms": 2, "seconds_each": 900.0}]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--trainer", "standard"), "trains without an attack"),
        (("--efforts", "x5"), "1x1.5, and -uniform or -nfgsm"),
        (("--arms", "rs3"), "rs3"),
        (("--fractions", "2"), "shares above 0"),
        (("--hours", 0), "--hours is above 0"),
        (("--race-share", 1), "between 0 and 1"),
        (("--judge-on", 2.5), "a whole number of images"),
    ],
)
def test_options_that_make_no_sense_are_refused(words: tuple[object, ...], said: str, tmp_path: Path) -> None:
    """Before any work, in one sentence."""
    got = command("--out", tmp_path / "race", *words)
    assert got.exit_code == 2
    assert said in got.output
    assert not (tmp_path / "race").exists()


def test_hours_that_are_too_short_are_refused(tmp_path: Path, timed: None) -> None:
    """A dry run refuses them too, with the hours that are needed."""
    for more in ((), ("--dry-run",)):
        got = command("--out", tmp_path, *SHORT, "--hours", 1 / 3600, *more)
        assert isinstance(got.exception, RequirementError), got.output
        assert "hours are needed" in str(got.exception)


@pytest.mark.parametrize("others", [2, 0])
def test_the_table_marks_runs_that_ended_early(others: int, capsys: pytest.CaptureFixture[str]) -> None:
    """With how much they did; arms that failed are none that can be told from the winner."""
    arms = [Arm("rs2", fraction, Effort(1)) for fraction in (0.1, 0.2, 0.3)]

    def record(arm: Arm, right: str | None, done: int) -> dict[str, Any]:
        share = None if right is None else right.count("1") / len(right)
        return {
            "arm": arm.name, "rung": 0, "robust": share, "standard": share, "n": len(right or ""), "right": right or "",
            "seconds": 9.0, "error": None if right else "it diverged", "cut": done < 4, "done": done, "epochs": 4, "warmup": 0,
        }  # fmt: skip

    records = [
        record(arms[0], "1110", 4),
        record(arms[1], "1100" if others else None, 2),
        record(arms[2], "1000" if others else None, 4),
    ]
    final = {"done": 9, "seconds": 30.0, "cut": False, "standard": 0.9, "robust": 0.7, "n": 40}
    show(Outcome(arms[0], tuple(records), final, 60.0), [])
    shown = " ".join(capsys.readouterr().out.split())
    assert ("* ended early to keep the time: rs2 0.2 1 (2 of 4 epochs)." in shown) == (others > 0)
    assert ("no other arm was judged" in shown) == (others == 0)


def test_judge_on_that_leaves_no_image_is_named(tmp_path: Path, timed: None) -> None:
    """Not --validation, which nobody gave."""
    words = [w for w in SHORT if w not in ("--judge-on", 10)]
    got = command("--out", tmp_path / "race", "--data", "digits", "--hours", 1, *words, "--judge-on", 100)
    assert "--judge-on 100 of 100 images" in str(got.exception)


def test_the_forecast_adds_up_to_the_hours() -> None:
    """Two processes run two arms at once, so each has twice the seconds."""
    costs = {Arm("rs2", f, Effort(1)): Cost(100, int(100 * f), 0.01) for f in (0.1, 0.2, 0.5)}
    assert forecast_lines(Budget(1000.0, processes=2), costs, 0.0) == [
        "rung 1: 3 arms, 2 min 05 s each, 4 min 10 s in all; from 250 epochs of rs2 0.5 1 to 1,250 of rs2 0.1 1",
        "rung 2: 2 arms, 4 min 10 s each, 4 min 10 s in all",
        "last training: 8 min 00 s for the winner; 16 min 40 s in all",
    ]


def test_the_command_reads_the_options_of_a_comparison(tmp_path: Path) -> None:
    """Preset, radius, seed and rates reach the settings; every method has its own effort and share."""
    app, seen = typer.Typer(), list[Any]()
    app.command()(race)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(race_run, "run", lambda request, json: seen.append(race_run.checked_race(request)))
        words = (
            "--radius", "0.05", "--lr", "0.02", "--seed", "7", "--arms", "rs2,rcs", "--hours", "2", "--trainer", "trades",
            "--processes", "3",
        )  # fmt: skip
        got = CliRunner().invoke(app, words)
    assert got.exit_code == 0, got.output
    made = seen[0]
    s = made.settings
    assert (s.system, s.radius, s.lr, s.seed) == ("trades", 0.05, 0.02, 7)
    assert (made.budget.seconds, made.budget.processes, len(made.arms)) == (7200.0, 3, 3 * (2 * 3 + 1))

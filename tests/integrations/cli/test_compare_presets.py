"""`coreselect compare` with published settings, LARS and more columns, as a user gives them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect.cli.options import AttackOptions, PoolOptions
from coreselect_integrations.cli.compare_options import StudyOptions
from coreselect_integrations.cli.compare_study import make_settings
from coreselect_integrations.cli.effort_options import EffortOptions
from coreselect_integrations.cli.options import NetworkOptions, ScheduleOptions, TrainingOptions
from coreselect_integrations.pretraining.presets import preset
from coreselect_integrations.training.nfgsm import NFGSM

pytest.importorskip("sklearn", reason="digits come with scikit-learn")
pytestmark = pytest.mark.filterwarnings("ignore::coreselect.errors.CoreselectWarning")


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "80"})


def made(study: StudyOptions, trainer: str | None = None, epochs: int | None = None, **attack: Any) -> Any:
    """The settings of a command line with little on it."""
    rest = (PoolOptions(), NetworkOptions(), TrainingOptions(epochs=epochs), ScheduleOptions())
    return make_settings(trainer, study, *rest, AttackOptions(**attack))


def test_a_preset_gives_the_published_settings() -> None:
    """All of them; scaled to --epochs; --radius scales the step; what is given besides counts."""
    assert made(StudyOptions(preset="imagenet224-sat")) == preset("imagenet224-sat")
    short = made(StudyOptions(preset="cifar10-acl", optimiser="sgd"), epochs=100)
    assert (short.epochs, short.warmup, short.every, short.optimiser, short.lr) == (100, 10, 2, "sgd", 5.0)
    weak = made(StudyOptions(preset="cifar10-sat"), radius=4 / 255)
    assert weak.step == pytest.approx(1 / 255)
    few = made(StudyOptions(preset="cifar10-sat"), attack_steps=5)
    assert (few.attack_steps, few.step) == (5, pytest.approx(4 / 255))


def test_without_a_preset_a_comparison_is_small() -> None:
    """The defaults of the help: a small network, 13 epochs, and five attack steps of 2.5 radii in all."""
    small = made(StudyOptions(), "sat")
    assert (small.arch, small.epochs, small.batch_size, small.lr, small.warmup, small.every) == (
        "small",
        13,
        64,
        0.05,
        3,
        5,
    )
    assert (small.validation, small.curve, small.attack_steps, small.step) == (
        0.05,
        "cosine",
        5,
        pytest.approx(4 / 255),
    )
    assert made(StudyOptions()) == small
    assert made(StudyOptions(optimiser="lars")).optimiser == "lars"


def test_the_training_attack_is_not_the_judge() -> None:
    """--train-radius and --step may be factors; what is left out keeps its proportions, and the judged radius stays."""
    pool = (PoolOptions(), NetworkOptions(), TrainingOptions(), ScheduleOptions())

    def asked(study: StudyOptions, attack: AttackOptions, **effort: Any) -> Any:
        return make_settings(None, study, *pool, attack, effort=EffortOptions(**effort))

    wide = asked(StudyOptions(), AttackOptions(attack_steps=1), train_radius="1.5x")
    assert (wide.radius, wide.attack_radius, wide.step) == pytest.approx((8 / 255, 12 / 255, 15 / 255))
    given = asked(StudyOptions(), AttackOptions(radius=0.1), train_radius="0.2", step="0.5x")
    assert (given.radius, given.attack_radius, given.step, given.attack_steps) == pytest.approx((0.1, 0.2, 0.1, 5))
    noisy = asked(StudyOptions(), AttackOptions(attack_steps=1), start="nfgsm")
    assert noisy.attack == NFGSM(8 / 255, 8 / 255, 1)
    fast = asked(StudyOptions(preset="cifar10-sat-fast"), AttackOptions(radius=4 / 255))
    assert (fast.radius, fast.attack_radius, fast.step) == pytest.approx((4 / 255, 6 / 255, 7.5 / 255))
    published = asked(StudyOptions(preset="cifar10-sat"), AttackOptions(), train_radius="1.5x")
    assert (published.attack_radius, published.step) == pytest.approx((12 / 255, 3 / 255))


def test_more_columns_and_pictures_of_a_preset(tmp_path: Path) -> None:
    """Fast-AT's preset with LARS on digits: corruption and AutoAttack accuracies in the results, a PNG and a PDF."""
    pytest.importorskip("matplotlib", reason="pictures need coreselect[plot]")
    words = (
        "--preset",
        "cifar10-fast-at",
        "--arch",
        "small",
        "--optimiser",
        "lars",
        "--epochs",
        2,
        "--warmup",
        1,
        "--every",
        1,
    )
    few = (
        "--selectors",
        "rs2",
        "--seeds",
        1,
        "--no-full",
        "--rows",
        64,
        "--validation",
        8,
        "--test-rows",
        6,
        "--device",
        "cpu",
    )
    done = command("compare", *words, *few, "--also", "margin,autoattack,corruptions", "--out", tmp_path)
    assert done.exit_code == 0, (done.stderr, done.exception)
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["study"]["optimiser"], results["study"]["curve"]) == ("lars", "triangle")
    assert results["study"]["step"] == pytest.approx(10 / 255)
    for record in results["records"]:
        found = record["accuracy"]["trained"]
        assert 0 <= found["autoattack"] <= found["standard"]
        assert 0 <= found["margin"] <= found["standard"]
        assert 0 <= found["corruptions"] <= 1
    assert (tmp_path / "pareto.png").exists()
    assert (tmp_path / "pareto.pdf").exists()
    assert "CA %" in done.stdout
    assert "gap" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--preset", "cifar10-acl", "--trainer", "sat"), "the preset cifar10-acl is of acl, not of sat"),
        (("--also", "pgd"), "--also is some of margin, autoattack, corruptions, got 'pgd'"),
    ],
)
def test_options_that_do_not_fit_are_wrong_usage(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """They are refused before any work."""
    done = command("compare", *words, "--out", tmp_path / "none")
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert not (tmp_path / "none").exists()

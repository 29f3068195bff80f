"""What `coreselect train` refuses: options without an effect, wrong usage, and runs that cannot be done."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect.errors import CoreselectError, DataError
from coreselect_integrations.cli.option_relevance import RELEVANCE, SCHEDULE, without_effect
from coreselect_integrations.cli.train import train as train_command
from coreselect_integrations.pretraining.presets import defaults
from coreselect_integrations.pretraining.run import MODEL
from coreselect_integrations.pretraining.settings import SETTING_NAMES, SYSTEMS

pytest.importorskip("kornia")
pytest.importorskip("sklearn", reason="digits come with scikit-learn")


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "80"})


IGNORED = [
    ("sat", "--beta", 1), ("sat", "--temperature", 0.1), ("sat", "--projection", 2), ("trades", "--sir", 0.1),
    ("acl", "--interval", 2), ("acl", "--rate", 0.5), ("dynacl", "--form", "kl"), ("dynacl-air", "--key-momentum", 0),
    ("standard", "--attack-steps", 1), ("standard", "--radius", 0.1), ("cl", "--step", 0.1), ("fast-at", "--lr-warmup", 1),
    ("sat", "--milestones", "5"), ("sat", "--eta", 0.1), ("sat", "--rd-steps", 1), ("sat", "--select-batch-size", 8),
    ("sat", "--fraction", 0.1), ("sat", "--warmup", 1), ("sat", "--every", 1), ("sat", "--align", "absolute"),
    ("sat", "--select-attack-steps", 1), ("standard", "--train-radius", "1.5x"), ("cl", "--start", "nfgsm"),
]  # fmt: skip


@pytest.mark.parametrize(("system", "option", "value"), IGNORED)
def test_an_option_that_would_be_ignored_is_wrong_usage(system: str, option: str, value: Any, tmp_path: Path) -> None:
    """Exit code 2, one sentence that names it, and nothing is made."""
    got = command("train", system, option, value, "--out", tmp_path / "run")
    assert got.exit_code == 2
    assert f"{option} would be without effect" in " ".join(got.stderr.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["--eta", "--rd-steps", "--select-batch-size"])
def test_options_of_rcs_are_wrong_usage_with_rs2(option: str, tmp_path: Path) -> None:
    """rs2 has no scratch step, no RD and no passes over the pool."""
    got = command("train", "sat", "--selector", "rs2", option, 1, "--out", tmp_path)
    assert got.exit_code == 2
    assert f"{option} would be without effect" in got.stderr


@pytest.mark.parametrize(
    ("selector", "option", "value"),
    [
        ("rcs:eta=0.05", "--eta", 0.1), ("rcs:capture=head+redraw", "--capture", "all"), ("rcs:rd_steps=1", "--rd-steps", 2),
        ("importance", "--select-batch-size", 8), ("rs2@1", "--attack-steps", 5), ("rs2@1x1.5", "--train-radius", "2x"),
    ],
)  # fmt: skip
def test_an_option_that_the_method_overrides_is_wrong_usage(
    selector: str, option: str, value: Any, tmp_path: Path
) -> None:
    """The words of the selector win, so the option has no effect; drawing by a history makes no pass over the pool."""
    got = command("train", "sat", "--selector", selector, option, value, "--out", tmp_path)
    assert got.exit_code == 2
    assert f"{option} would be without effect" in " ".join(got.stderr.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("acl", "--guard"), "--guard would be without effect here: it is for supervised systems with an attack"),
        (("sat", "--start", "zero"), "--start is uniform or nfgsm, got 'zero'"),
        (("sat", "--step", "wide"), "--step is a number above 0"),
        (("sat", "--train-radius", "0x"), "--train-radius is a number above 0"),
    ],
)
def test_a_training_attack_that_cannot_be_is_wrong_usage(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    """Another start, a size that is none, and a guard of a system that has no labels."""
    got = command("train", *words, "--out", tmp_path / "run")
    assert got.exit_code == 2
    assert said in " ".join(got.stderr.replace("│", " ").split())
    assert not (tmp_path / "run").exists()


def test_a_wide_cheap_attack_trains_and_is_guarded(tmp_path: Path) -> None:
    """The settings that are printed have the training radius and the judged one; the log has what the guard measured."""
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    words = ("--data", "digits", "--rows", 60, "--validation", 10, "--arch", "small", "--epochs", 2, "--device", "cpu")
    effort = ("--attack-steps", 1, "--train-radius", "1.5x", "--step", "1x", "--start", "nfgsm", "--radius", 0.1)
    got = command("train", "sat", *words, *effort, "--json", "--out", tmp_path / "run")
    assert got.exit_code == 0, got.output
    told = json.loads(got.stdout)
    used = told["settings"]
    assert (used["radius"], used["train_radius"], used["step"]) == pytest.approx((0.1, 0.15, 0.15))
    assert (used["start"], used["attack_steps"]) == ("nfgsm", 1)
    assert told["last"]["guard"]["attack_steps"] == 1


def test_a_first_multiple_after_the_last_epoch_is_wrong_usage(tmp_path: Path) -> None:
    """Counted from epoch 0, the first selection may come later than the warm-up ends, and so never."""
    words = ("sat", "--selector", "rs2", "--epochs", 10, "--warmup", 3, "--every", 10, "--align", "absolute")
    got = command("train", *words, "--out", tmp_path)
    assert got.exit_code == 2
    assert "the first multiple of --every 10 from --warmup 3 on is 10" in " ".join(got.stderr.split())


def test_a_shift_of_validation_images_of_ones_own_is_wrong_usage(tmp_path: Path) -> None:
    """It corrupts held-out images, and there are none; nothing is written."""
    got = command("train", "sat", "--pool", "shift=fog:2", "--validation-data", "digits", "--out", tmp_path / "run")
    assert got.exit_code == 2
    assert "--pool shift=fog would be without effect" in " ".join(got.stderr.split())
    assert not (tmp_path / "run").exists()


def test_every_arm_of_a_comparison_takes_the_same_plan() -> None:
    """A named `full` is accepted with the options of the schedule and ignores them; without a name they are refused."""
    assert without_effect(SCHEDULE, defaults("sat"), None, named=True) is None
    assert without_effect(SCHEDULE, defaults("sat"), None, named=False) is not None


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_table_knows_real_options_and_lets_every_system_have_its_own(system: str) -> None:
    """Names in the table are options, and each has an effect with some system."""
    for names, reads, _ in RELEVANCE:
        assert set(names) <= {*inspect.signature(train_command).parameters}
        if names[0] in SETTING_NAMES and names[0] not in ("milestones", "capture", "eta", "rd_steps"):
            assert any(reads(defaults(other), None) for other in SYSTEMS)
    common = set(SETTING_NAMES) - {name for names, _, _ in RELEVANCE for name in names} - {*SCHEDULE}
    assert without_effect(common, defaults(system), None, named=False) is None


@pytest.mark.parametrize(
    "words",
    [
        (), ("acl", "--preset", "cifar10-sat"), ("sat", "--selector", "rcs", "--fraction", 0),
        ("sat", "--selector", "rcs", "--epochs", 5, "--warmup", 5), ("acl", "--selector", "rcs", "--warmup", 1000),
        ("sat", "--precision", "fp16"), ("sat", "--precision", "auto"),
        ("sat", "--selector", "rcs", "--select-attack-steps", "half"),
        ("sat", "--validation", 1.5), ("sat", "--radius", 0), ("sat", "--fraction", 2), ("sat", "--epochs", 0),
        ("sat", "--device", "toaster"), ("sat", "--curve", "stairs", "--milestones", "soon"),
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(words: tuple[Any, ...], tmp_path: Path) -> None:
    """No system, a preset of another system, a coreset that is empty or never chosen, and numbers without meaning."""
    got = command("train", *words, "--out", tmp_path / "run")
    assert got.exit_code == 2, got.output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("sot",), "no training system is called 'sot'"),
        (("--preset", "cifar12-sat"), "no preset is called"),
        (("sat", "--selector", "rsc", "--warmup", 0), "no selector is called 'rsc'"),
        (("sat", "--selector", "per_class"), "combines other selectors"),
        (("sat", "--arch", "resnet19"), "no architecture is called 'resnet19'"),
        (("sat", "--optimiser", "adam"), "optimiser is one of sgd and lars"),
        (("sat", "--curve", "square"), "no curve is called 'square'"),
        (("sat", "--curve", "stairs"), "needs milestones for the curve stairs"),
        (("sat", "--lr", 0), "needs a rate above 0"),
        (("sat", "--selector", "rs2", "--align", "epoch"), "align is one of warmup and absolute"),
        (("sat", "--momentum", 1), "needs a momentum in [0, 1)"),
        (("acl", "--temperature", 0), "needs a temperature above 0"),
        (("sat", "--arch", "small", "--stem", "imagenet"), "stem"),
        (("sat", "--rows", 60), "--validation 0.01 of 60 images"),
        (("sat", "--validation", 5000), "--validation 5000 of 1,442 images"),
        (("sat", "--rows", 5000), "5000 rows were asked for, there are 1442"),
        (("sat", "--data", "/nowhere"), "there is nothing at /nowhere"),
        (("sat", "--device", "meta"), "there is no device meta here"),
        (("sat", "--arch", "small", "--selector", "rcs", "--fraction", 0.0001), "less than one"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence(words: tuple[Any, ...], said: str, tmp_path: Path) -> None:
    """The library refuses, which the program turns into exit code 1, and no network is written."""
    got = command("train", *words, "--out", tmp_path)
    assert isinstance(got.exception, CoreselectError), got.output
    assert said in str(got.exception)
    assert not (tmp_path / MODEL).exists()


@pytest.mark.parametrize("below", ["", "run"])
def test_a_file_is_no_folder_for_a_run(below: str, tmp_path: Path) -> None:
    """Nor is a folder below it. It is refused before any data is loaded, and the file is not changed."""
    file = tmp_path / "notes"
    file.write_text("mine")
    got = command("train", "sat", "--data", "/nowhere", "--out", file / below)
    assert isinstance(got.exception, DataError)
    assert f"because of {file}" in str(got.exception)
    assert file.read_text() == "mine"

"""`--pool` and `--validation-data` of `train` and `compare`: what is recorded, shown and refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect.errors import DataError, RequirementError, UnknownNameError

pytest.importorskip("sklearn", reason="digits come with scikit-learn")
STUDY = (
    "compare", "--rows", 140, "--test-rows", 20, "--epochs", 2, "--warmup", 1, "--every", 1, "--attack-steps", 1,
    "--batch-size", 32, "--seeds", 1, "--fractions", 0.3, "--no-full",
)  # fmt: skip
RUN = (
    "train",
    "sat",
    "--rows",
    120,
    "--epochs",
    2,
    "--warmup",
    1,
    "--every",
    1,
    "--attack-steps",
    1,
    "--arch",
    "small",
)


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "80"})


def looked_at_and_trained_on(coreset: Path, out: Path) -> tuple[Any, Any]:
    """Give the coreset of a run back to `inspect` and to `train --coreset`, with the data of that run."""
    short = ("train", "sat", "--rows", 120, "--epochs", 1, "--attack-steps", 1, "--arch", "small", "--out", out)
    return command("inspect", coreset, "--data", "digits", "--rows", 120), command(*short, "--coreset", coreset)


def folder_of(where: Path, n: int, *, side: int = 8, classes: int = 10, labelled: bool = True) -> Path:
    """Write a folder of random grey images."""
    where.mkdir()
    rng = np.random.default_rng(5)
    for part in ("train", "test"):
        np.save(where / f"images_{part}.npy", rng.integers(0, 256, (n, side, side, 1), np.uint8))
        if labelled:
            np.save(where / f"labels_{part}.npy", np.arange(n) % classes)
    return where


def test_a_comparison_in_an_impure_pool_shows_what_each_method_picked(tmp_path: Path) -> None:
    """The shares of the pool come first; a control that trains on the clean set picks nothing wrong, one that mixes half; the
    words of the pool are in the results, and other words are refused for the same folder.
    """
    guided = "gradmatch:target=validation,acs_gradmatch:target=validation,craig:target=validation,acs_craig:target=validation"
    methods = f"rs2,validation_only,rs2+validation,rs2:filter=0.6:side=true,{guided}"
    words = ("--out", tmp_path, *STUDY[1:], "--validation", 40, "--selectors", methods)
    got = command("compare", *words, "--pool", "labels-wrong=0.5,shift=brightness:1")
    assert got.exit_code == 0, got.output
    told = json.loads((tmp_path / "results.json").read_text())
    picks = {r["method"]: r["picks"] for r in told["records"] if r["picks"]}
    assert {r["pool_picks"]["wrong"] for r in told["records"]} == {0.5}
    assert picks["validation_only"]["wrong"] == 0
    assert picks["rs2+validation"]["wrong"] < 0.35 < picks["rs2"]["wrong"]
    assert [*picks] == methods.split(",")
    assert told["study"]["pool"] == "labels-wrong=0.5,shift=brightness:1"
    assert "picks of" in got.stdout
    assert "What was picked" in (tmp_path / "report.html").read_text(encoding="utf-8")
    again = command("compare", *words, "--pool", "labels-wrong=0.4,shift=brightness:1")
    assert isinstance(again.exception, RequirementError)
    assert "conditions" in str(again.exception)


def test_training_says_what_it_picked_and_refuses_another_pool(tmp_path: Path) -> None:
    """Foreign images of another side are resized to those of the pool; the summary has their share, and that of the pool."""
    other = folder_of(tmp_path / "other", 90, side=12)
    words = (*RUN, "--out", tmp_path / "run", "--validation", 20, "--selector", "rs2", "--fraction", 0.3)
    got = command(*words, "--pool", f"foreign=0.5:{other}")
    assert got.exit_code == 0, got.output
    assert "foreign" in got.stdout
    assert "(50.0 % of the pool)" in got.stdout
    again = command(*words)
    assert isinstance(again.exception, RequirementError)
    assert "conditions" in str(again.exception)


@pytest.mark.parametrize("pool", ["duplicates=3", "labels-wrong=0.4", "tail=3"])
def test_the_coreset_of_a_run_says_that_its_pool_was_impure(pool: str, tmp_path: Path) -> None:
    """`inspect` shows labels as that pool gives them, or refuses positions that are none of the data; `train --coreset` refuses."""
    words = ("--selector", "rs2", "--fraction", 0.3, "--validation", 20)
    assert command(*RUN, "--out", tmp_path / "run", *words, "--pool", pool).exit_code == 0
    file = tmp_path / "run" / "coreset.npz"
    assert f"(--pool {pool})" in " ".join(command("inspect", file).output.split())
    shown, again = looked_at_and_trained_on(file, tmp_path / "again")
    assert (shown.exit_code == 0) == (pool != "duplicates=3"), shown.output
    assert "another" not in shown.output
    if pool == "duplicates=3":
        assert "picks have no position in the data" in str(shown.exception)
    assert "impure on purpose" in str(again.exception)


def test_networks_know_classes_that_only_held_out_images_have(tmp_path: Path) -> None:
    """One image of the last class: whether it is in the pool depends on the seed, and every seed can be trained and judged."""
    data = folder_of(tmp_path / "rare", 60, classes=4)
    for part in ("train", "test"):
        labels = np.arange(60) % 3
        labels[7] = 3
        np.save(data / f"labels_{part}.npy", labels)
    study = ("--epochs", 2, "--warmup", 1, "--every", 1, "--attack-steps", 1, "--batch-size", 16, "--fractions", 0.5)
    words = ("--no-full", "--data", data, "--validation", 0.5, "--seeds", 4, "--selectors", "rs2")
    got = command("compare", *study, *words, "--out", tmp_path / "out")
    assert got.exit_code == 0, got.output
    records = json.loads((tmp_path / "out" / "results.json").read_text())["records"]
    assert len(records) == 8
    assert [r["error"] for r in records if r["error"]] == []


def test_what_a_method_cannot_have_is_refused_before_the_warm_model(tmp_path: Path) -> None:
    """Labels of the validation set that it follows, and more images than its filter leaves."""
    bare = folder_of(tmp_path / "bare", 30, labelled=False)
    for words, said in (
        (("--validation-data", bare, "--selectors", "rs2,gradmatch:target=validation"), "needs labels"),
        (("--selectors", "rs2,rs2:filter=0.1"), "a filter of 0.1 leaves"),
    ):
        got = command(*STUDY, "--out", tmp_path / "out", *words)
        assert said in str(got.exception), got.output
    train = command(*RUN, "--out", tmp_path / "run", "--selector", "rs2:filter=0.1", "--fraction", 0.5)
    assert "a filter of 0.1 leaves" in str(train.exception)
    assert not (tmp_path / "run" / "log.jsonl").exists()
    for mixed in ("rs2:filter=0.6+validation", "rs2:filter=0.6+redraw"):  # the filter has to give half of the picks
        dry = command(
            *RUN, "--out", tmp_path / mixed, "--selector", mixed, "--fraction", 0.8, "--validation", 20, "--dry-run"
        )
        assert dry.exit_code == 0, dry.output


def test_a_coreset_that_draws_from_the_validation_set_has_no_positions_in_the_data(tmp_path: Path) -> None:
    """Its class table would be that of other images."""
    words = ("--selector", "rs2+validation", "--fraction", 0.3, "--validation", 20)
    assert command(*RUN, "--out", tmp_path / "run", *words).exit_code == 0
    file = tmp_path / "run" / "coreset.npz"
    shown, again = looked_at_and_trained_on(file, tmp_path / "again")
    assert "draws from the validation set too" in str(shown.exception)
    assert "draws from the validation set too" in str(again.exception)


def test_test_images_of_an_unknown_class_are_refused_at_the_start(tmp_path: Path) -> None:
    """No network that is trained on these images can name it."""
    data = folder_of(tmp_path / "more", 60, classes=3)
    np.save(data / "labels_test.npy", np.arange(60) % 5)
    got = command(*STUDY[:1], *STUDY[5:], "--data", data, "--selectors", "rs2", "--out", tmp_path / "out")
    assert "test has labels up to 4, and the training images have none above 2" in str(got.exception), got.output


def test_a_validation_set_of_the_users_takes_the_place_of_the_holdout(tmp_path: Path) -> None:
    """All images are the pool; a set without labels serves RCS, and is refused for a control that trains on it."""
    bare = folder_of(tmp_path / "bare", 20, labelled=False)
    words = (*STUDY, "--out", tmp_path / "out", "--validation-data", bare)
    got = command(*words, "--selectors", "rcs")
    assert got.exit_code == 0, got.output
    assert json.loads((tmp_path / "out" / "results.json").read_text())["study"]["pool_size"] == 140
    refused = command(*words, "--selectors", "rs2+validation")
    assert isinstance(refused.exception, DataError)
    assert "rs2+validation needs labels, and the validation set has none" in str(refused.exception)


def test_what_does_not_fit_is_refused_before_the_first_epoch(tmp_path: Path) -> None:
    """Unknown corruptions, two validation sets, classes that the pool lacks, a coreset of the clean pool."""
    more = folder_of(tmp_path / "more", 30, classes=12)
    chosen = ("--selector", "rs2")
    for words, kind, said in (
        (("--pool", "shift=fig:3"), UnknownNameError, "no corruption is called 'fig'"),
        (("--pool", "shift=fog:9"), RequirementError, "severity of a shift"),
        (("--pool", "wet=1"), RequirementError, "labels-wrong=0.4 and shift=fog:3"),
        (("--validation-data", more, *chosen), DataError, "labels up to 11"),
        (("--validation-data", more, "--validation", 5, *chosen), SystemExit, "--validation would be without effect"),
        (("--pool", "tail=3", "--coreset", "a.npz"), SystemExit, "--pool would be without effect with --coreset"),
    ):
        got = command(*RUN, "--out", tmp_path / "out", *words)
        assert isinstance(got.exception, kind), got.output
        assert said in " ".join(f"{got.exception} {got.output}".replace("│", " ").split())
    assert not (tmp_path / "out" / "log.jsonl").exists()

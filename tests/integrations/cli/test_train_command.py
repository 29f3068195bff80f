"""`coreselect train` as a user sees it: what it prints, keeps and refuses, and how a stopped run continues."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from coreselect import Selection
from coreselect.cli.app import build, main
from coreselect.errors import DataError, NonFiniteError, RequirementError
from coreselect_integrations.networks import load_network
from coreselect_integrations.pretraining.coreset_file import CORESET
from coreselect_integrations.pretraining.run import MODEL
from coreselect_integrations.training.runs import CHECKPOINT, LOG

pytest.importorskip("kornia")
pytest.importorskip("sklearn", reason="digits come with scikit-learn")
SMALL = ("--rows", 90, "--validation", 10, "--arch", "small", "--batch-size", 40, "--attack-steps", 1, "--step", 0.04)
FACTORIES = """
import torch

class Images(torch.utils.data.Dataset):
    def __init__(self, labelled=True, seed=0):
        self.labelled, self.seed = labelled, seed
    def __len__(self):
        return 60
    def __getitem__(self, i):
        x = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(self.seed + i))
        return (x, i % 2) if self.labelled else x

def labelled(split): return Images()
def others(split): return Images(seed=1000)
def bare(split): return Images(False)
"""


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "80"})


def train(system: str, out: Path, *words: object) -> Any:
    return command("train", system, *SMALL, "--out", out, *words)


@pytest.mark.parametrize(
    ("system", "selector", "words"),
    [
        ("sat", "rcs", ("--eta", 0.02, "--rd-steps", 1, "--select-attack-steps", 1)),
        ("acl", "rs2", ("--optimiser", "sgd", "--lr", 0.05, "--lr-warmup", 0)),
        ("dynacl-air", "full", ("--optimiser", "sgd", "--lr", 0.05, "--lr-warmup", 0, "--interval", 1)),
    ],
)
def test_a_run_leaves_a_network_a_log_and_its_last_coreset(
    system: str, selector: str, words: tuple[Any, ...], tmp_path: Path
) -> None:
    """Notes and a line for each epoch are on stderr; the summary is on stdout, in lines that do not break paths."""
    plan = ("--selector", selector, "--fraction", 0.25, "--warmup", 1, "--every", 1, "--epochs", 2)
    got = train(system, tmp_path, *plan, *words)

    assert got.exit_code == 0, got.output
    assert {MODEL, LOG, CHECKPOINT} <= {p.name for p in tmp_path.iterdir()}
    assert (tmp_path / CORESET).exists() == (selector != "full")
    assert "80 images, 10 more held out" in got.stderr
    assert f"in {tmp_path}" in got.stderr
    assert got.stderr.count("epoch 2 of 2") == 1
    assert got.stdout.startswith("2 epochs took ")
    assert f"{tmp_path / MODEL} and {tmp_path / LOG}" in got.stdout
    assert ("of the pool was seen" in got.stdout) == (selector != "full")
    if selector != "full":
        assert len(Selection.load(tmp_path / CORESET)) == 20


def test_json_is_alone_on_stdout(tmp_path: Path) -> None:
    """The value says what ran, with which settings, and has the record of the last epoch as in the log."""
    got = train("sat", tmp_path, "--epochs", 2, "--json")
    told = json.loads(got.stdout)

    assert told["last"] == json.loads((tmp_path / LOG).read_text().splitlines()[-1])
    assert (told["selector"], told["data"], told["trained"], told["settings"]["system"]) == ("full", "digits", 2, "sat")
    assert "epoch 2 of 2" in got.stderr


def test_a_finished_run_trains_nothing_and_says_so(tmp_path: Path) -> None:
    """The second call leaves the same weights and log, and prints no line of an epoch."""
    first = train("sat", tmp_path, "--epochs", 1)
    kept = load_network(tmp_path / MODEL).weights, (tmp_path / LOG).read_text()
    assert load_network(tmp_path / MODEL).classes == tuple("0123456789")
    again = train("sat", tmp_path, "--epochs", 1)

    assert first.exit_code == again.exit_code == 0
    assert again.stdout.startswith("nothing was left to train: 1 epoch took")
    assert "epoch 1 of 1" not in again.stderr
    assert (tmp_path / LOG).read_text() == kept[1]
    assert all(torch.equal(v, kept[0][n]) for n, v in load_network(tmp_path / MODEL).weights.items())


def test_a_stopped_run_goes_on_and_says_after_which_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted in its second epoch, the same command trains that epoch and says that one was there already."""
    from coreselect_integrations.cli import run_progress

    def plug(self: Any, part: str, done: int, total: int) -> None:
        if part == "epoch 2":
            raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(run_progress.RunProgress, "__call__", plug)
        assert train("sat", tmp_path, "--epochs", 2).exit_code == 130
    got = train("sat", tmp_path, "--epochs", 2)
    assert got.stdout.startswith("went on after 1: 2 epochs took")
    assert "epoch 1 of 2" not in got.stderr
    assert "epoch 2 of 2" in got.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--lr", 0.05), "lr 0.1, this one has 0.05"),
        (("--seed", 1), "data 'n:"),
        (("--selector", "rcs", "--eta", 0.02, "--warmup", 0), "selector None, this one has 'rcs'"),
        (("--rows", 91), "data 'n:"),
        (("--flip",), "flip False, this one has True"),
    ],
)
def test_a_run_is_not_resumed_under_another_option(words: tuple[Any, ...], named: str, tmp_path: Path) -> None:
    """One sentence names the setting and both values; the log stays as it was."""
    train("sat", tmp_path, "--epochs", 1)
    log = (tmp_path / LOG).read_text()
    got = train("sat", tmp_path, "--epochs", 1, *words)
    assert isinstance(got.exception, RequirementError)
    assert named in str(got.exception)
    assert (tmp_path / LOG).read_text() == log


def test_the_sentence_names_the_selectors_setting_alone(tmp_path: Path) -> None:
    """The message has the one number that differs, not the whole selector."""
    plan = ("--epochs", 1, "--selector", "rcs", "--warmup", 0, "--fraction", 0.5)
    train("sat", tmp_path, *plan)
    got = train("sat", tmp_path, *plan, "--eta", 0.02)
    assert "eta 0.01, this one has 0.02:" in str(got.exception)


def test_a_run_is_not_resumed_on_other_data_of_the_same_size(tmp_path: Path) -> None:
    """The pool's fingerprint is a setting of the run."""
    (tmp_path / "made.py").write_text(FACTORIES)
    words = ("--arch", "small", "--epochs", 1, "--validation", 10, "--out", tmp_path / "run")
    assert command("train", "standard", "--data", f"{tmp_path}/made.py:labelled", *words).exit_code == 0
    got = command("train", "standard", "--data", f"{tmp_path}/made.py:others", *words)
    assert isinstance(got.exception, RequirementError)
    assert "data 'n:50-" in str(got.exception)


def test_training_that_diverges_is_refused_and_leaves_the_epoch_before(tmp_path: Path) -> None:
    """The sentence names the epoch; checkpoint and log are those of the epoch before, and every line of the log is JSON."""
    words = ("--epochs", 4, "--lr", 1e6, "--curve", "constant")
    got = train("sat", tmp_path, *words)
    assert isinstance(got.exception, NonFiniteError), got.output
    kept = [json.loads(said, parse_constant=pytest.fail) for said in (tmp_path / LOG).read_text().splitlines()]
    assert f"diverged in epoch {len(kept) + 1}" in str(got.exception)
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert len(state["records"]) == len(kept)
    assert all(t.isfinite().all() for t in state["parts"]["model"].values())
    assert not (tmp_path / MODEL).exists()


def test_stairs_fall_at_their_milestones(tmp_path: Path) -> None:
    """--milestones 1,2: the rate is 0.1, 0.01, 0.001."""
    got = train("standard", tmp_path, "--epochs", 3, "--curve", "stairs", "--milestones", "1,2")
    assert got.exit_code == 2, "a standard system has no attack steps"
    words = (
        "--rows",
        60,
        "--validation",
        10,
        "--arch",
        "small",
        "--epochs",
        3,
        "--curve",
        "stairs",
        "--milestones",
        "1,2",
    )
    assert command("train", "standard", *words, "--out", tmp_path).exit_code == 0
    rates = [json.loads(said)["lr"] for said in (tmp_path / LOG).read_text().splitlines()]
    assert rates == pytest.approx([0.1, 0.01, 0.001])


@pytest.mark.parametrize(
    ("words", "step"), [(("--radius", "0.1"), 0.025), (("--radius", "0.1", "--step", "0.03"), 0.03)]
)
def test_the_published_step_follows_the_radius(words: tuple[str, ...], step: float, tmp_path: Path) -> None:
    """The published step is a quarter of the radius, 2/255 of 8/255, so four reach it; a step that is given is kept."""
    more = ("--rows", 60, "--validation", 10, "--arch", "small", "--epochs", 1, "--attack-steps", 4, "--json")
    got = command("train", "sat", *more, *words, "--out", tmp_path)
    assert json.loads(got.stdout)["settings"]["step"] == pytest.approx(step)


def test_labels_are_needed_by_supervised_systems_alone(tmp_path: Path) -> None:
    """Images without labels: sat is refused, cl trains."""
    (tmp_path / "made.py").write_text(FACTORIES)
    words = ("--data", f"{tmp_path}/made.py:bare", "--arch", "small", "--epochs", 1, "--validation", 10)
    assert isinstance(command("train", "sat", *words, "--out", tmp_path / "a").exception, DataError)
    more = ("--optimiser", "sgd", "--lr", 0.1, "--lr-warmup", 0)
    assert command("train", "cl", *words, *more, "--out", tmp_path / "b").exit_code == 0


def test_settings_made_for_long_runs_are_pointed_out(tmp_path: Path) -> None:
    """A rate that never reaches its peak, views that never weaken, and an attack that cannot reach its radius have a line each."""
    words = ("--optimiser", "sgd", "--lr", 0.05, "--attack-steps", 1, "--step", 0.001, "--epochs", 1)
    got = train("dynacl", tmp_path, *words)
    assert got.exit_code == 0, got.output
    assert "never reaches --lr" in got.stderr
    assert "never weaken" in got.stderr
    assert "walks 0.001 in all" in got.stderr


def test_a_refusal_is_one_line_on_stderr_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """This holds for the whole program, also with brackets in names."""
    monkeypatch.setattr(
        sys, "argv", ["coreselect", "train", "sat", "--data", "no[where]", "--out", str(tmp_path / "run")]
    )
    with pytest.raises(SystemExit, match="1"):
        main()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("refused: there is nothing at no[where]")
    assert len(said.err.strip().splitlines()) == 1

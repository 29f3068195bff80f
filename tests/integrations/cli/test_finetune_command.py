"""`coreselect finetune` as a user sees it: what it loads, keeps and refuses, and how a stopped one continues."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from coreselect.attacks import PGD
from coreselect.cli.app import build
from coreselect.errors import BudgetError, CoreselectError, DataError, NonFiniteError, RequirementError
from coreselect_integrations.cli import finetune_run
from coreselect_integrations.cli.finetune import ALL
from coreselect_integrations.networks import NetworkSpec, load_network, make, save_network
from coreselect_integrations.pretraining.run import MODEL
from coreselect_integrations.training.runs import CHECKPOINT, LOG

pytest.importorskip("sklearn", reason="digits come with scikit-learn")
ATTACKED = ("alf", "aff", "autolora", "semi", "lpaft")
FACTORIES = """
import torch

def images(channels, size, labelled):
    g = torch.Generator().manual_seed(0)
    x = torch.rand(60, channels, size, size, generator=g)
    return torch.utils.data.TensorDataset(x, torch.arange(60) % 2) if labelled else list(x)

def bare(split): return images(1, 8, False)
def rgb(split): return images(3, 8, True)
def large(split): return images(1, 16, True)
"""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """model.pt of an extractor with two routes, as `coreselect train acl` leaves it, with statistics of its own."""
    path = tmp_path_factory.mktemp("encoder") / MODEL
    spec = NetworkSpec("small", 1, 8, projection=2, dual_bn=True)
    save_network(path, make(spec, 1), spec, {"system": "acl"})
    return path


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "80"})


def finetune(mode: str, encoder: Path, out: Path, *words: object) -> Any:
    short = ("--epochs", 2, "--rows", 60, "--batch-size", 30, *(("--attack-steps", 1) if mode in ATTACKED else ()))
    few = ("--labelled", 20) if mode == "semi" else ()
    return command("finetune", mode, "--from", encoder, "--out", out, *short, *few, *words)


@pytest.mark.parametrize("mode", ALL)
def test_every_mode_leaves_a_classifier_and_a_log(mode: str, encoder: Path, tmp_path: Path) -> None:
    """The result has one route and ten classes; each epoch has a line, and the summary says how much was loaded."""
    got = finetune(mode, encoder, tmp_path)
    assert got.exit_code == 0, got.output
    saved = load_network(tmp_path / MODEL)
    assert (saved.spec.classes, saved.spec.dual_bn) == (10, False)
    assert saved.classes == (None if mode == "lpaft" else tuple("0123456789"))
    assert (saved.about["mode"], saved.about["from"], saved.about["data"]) == (mode, {"system": "acl"}, "digits")
    assert [f"epoch {n} of 2" in got.stderr for n in (1, 2, 3)] == [True, True, False]
    log = tmp_path / {"lpaft": "full", "semi": "student"}.get(mode, "") / LOG
    assert f"{tmp_path / MODEL} and {log} hold" in got.stdout
    assert log.exists()
    assert f"tensors came from {encoder}, 2 began anew\n2 epochs took" in got.stdout


def test_few_labels_are_drawn_in_balance_and_written_down(encoder: Path, tmp_path: Path) -> None:
    """A third of 60 digits is two of each class, with the seed; the same command continues, another share does not."""
    first = finetune("semi", encoder, tmp_path, "--teacher", "slf", "--seed", 3)
    assert first.exit_code == 0, first.output
    drawn = json.loads((tmp_path / "labelled.json").read_text())
    assert (drawn["seed"], drawn["classes"], len(drawn["indices"])) == (3, [2] * 10, 20)
    about = load_network(tmp_path / MODEL).about
    assert (about["labelled"], about["teacher"]) == (20, "slf")
    again = finetune("semi", encoder, tmp_path, "--teacher", "slf", "--seed", 3, "--json")
    assert json.loads(again.stdout)["trained"] == 0
    other = finetune("semi", encoder, tmp_path, "--labelled", 0.2, "--teacher", "slf", "--seed", 3)
    assert isinstance(other.exception, RequirementError)


@pytest.mark.parametrize(
    ("mode", "words", "said"),
    [
        ("slf", ("--labelled", 0.1), "--labelled would be without effect on slf: it is for semi"),
        ("semi", ("--teacher", "aff"), "--teacher is sff or slf"),
        ("semi", ("--labelled", 1.5), "whole number of images"),
        ("semi", ("--labelled", 0), "--labelled is above 0"),
        ("semi", ("--lr", 0.1), "--lr would be without effect on semi"),
        ("semi", ("--epochs", 1), "semi trains twice"),
        ("semi", ("--labelled", 3), "less than one of each of the 10 classes"),
    ],
)
def test_semi_supervised_options_without_sense_are_refused(
    mode: str, words: tuple[Any, ...], said: str, encoder: Path, tmp_path: Path
) -> None:
    """One sentence, and no run."""
    got = finetune(mode, encoder, tmp_path / "run", *words)
    assert got.exit_code != 0
    refusal = str(got.exception) if isinstance(got.exception, CoreselectError) else got.stderr
    assert said in " ".join(refusal.replace("│", " ").split())
    assert not (tmp_path / "run").exists()


def test_json_is_alone_on_stdout(encoder: Path, tmp_path: Path) -> None:
    """It says what was loaded, what was initialised, and how the last epoch went."""
    got = finetune("slf", encoder, tmp_path, "--json")
    told = json.loads(got.stdout)
    last = json.loads((tmp_path / LOG).read_text().splitlines()[-1])
    assert (told["mode"], told["epochs"], told["trained"], told["fresh"]) == ("slf", 2, 2, 2)
    assert (told["loss"], told["accuracy"]) == (last["loss"], last["accuracy"])
    assert told["loaded"] + told["left_out"] == len(load_network(encoder).weights)


@pytest.mark.parametrize("mode", ["alf", "lpaft", "autolora"])
def test_a_finished_one_trains_nothing_and_says_so(mode: str, encoder: Path, tmp_path: Path) -> None:
    """The second call leaves the same weights and prints no line of an epoch."""
    finetune(mode, encoder, tmp_path)
    weights = load_network(tmp_path / MODEL).weights
    again = finetune(mode, encoder, tmp_path)
    assert again.exit_code == 0, again.output
    assert "nothing was left to train" in again.stdout
    assert "epoch 2 of 2" not in again.stderr
    assert all(torch.equal(v, weights[n]) for n, v in load_network(tmp_path / MODEL).weights.items())


def test_a_stopped_one_goes_on(encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted after its first epoch, the same command trains the second and ends with the same weights."""
    finetune("sff", encoder, tmp_path / "whole")
    ended = finetune_run.RunProgress.ended

    def plug(self: Any, record: Any) -> None:
        ended(self, record)
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(finetune_run.RunProgress, "ended", plug)
        assert finetune("sff", encoder, tmp_path / "cut").exit_code == 130
    got = finetune("sff", encoder, tmp_path / "cut")
    assert "2 epochs took" in got.stdout
    assert "1 of them before" in got.stdout
    whole, cut = (load_network(tmp_path / name / MODEL).weights for name in ("whole", "cut"))
    assert all(torch.equal(v, cut[n]) for n, v in whole.items())


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--lr", 0.5), "lr 0.01, this one has 0.5"),
        (("--seed", 3), "seed 0, this one has 3"),
        (("--flip",), "flip False"),
    ],
)
def test_one_is_not_resumed_under_another_option(
    words: tuple[Any, ...], named: str, encoder: Path, tmp_path: Path
) -> None:
    """One sentence names the setting and both values."""
    finetune("slf", encoder, tmp_path)
    got = finetune("slf", encoder, tmp_path, *words)
    assert isinstance(got.exception, RequirementError)
    assert named in str(got.exception)


@pytest.mark.parametrize(("first", "second"), [("slf", "lpaft"), ("lpaft", "slf"), ("slf", "alf")])
def test_another_mode_does_not_write_over_a_network(first: str, second: str, encoder: Path, tmp_path: Path) -> None:
    """One folder holds one fine-tuning, although lpaft keeps its two trainings in folders below it."""
    finetune(first, encoder, tmp_path)
    before = (tmp_path / MODEL).read_bytes()
    got = finetune(second, encoder, tmp_path)
    assert isinstance(got.exception, RequirementError)
    assert (tmp_path / MODEL).read_bytes() == before


def test_training_that_diverges_is_refused_and_leaves_the_epoch_before(encoder: Path, tmp_path: Path) -> None:
    """No network is written; the checkpoint in the folder is finite, and the log is JSON."""
    got = finetune("aff", encoder, tmp_path, "--lr", 1e20)
    assert isinstance(got.exception, NonFiniteError), got.output
    assert "training diverged in epoch" in str(got.exception)
    assert not (tmp_path / MODEL).exists()
    if (tmp_path / CHECKPOINT).exists():
        kept = torch.load(tmp_path / CHECKPOINT, weights_only=True)["parts"]["network"]
        assert all(t.isfinite().all() for t in kept.values())
        for said in (tmp_path / LOG).read_text().splitlines():
            json.loads(said, parse_constant=pytest.fail)


def test_autolora_judges_itself_within_the_radius_it_trains_in(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 steps of a quarter of --radius, as `coreselect evaluate` does."""
    given: dict[str, Any] = {}

    class Enough(CoreselectError):
        """Seen."""

    def seen(*words: Any, **options: Any) -> None:
        given.update(options)
        raise Enough

    monkeypatch.setattr(finetune_run, "autolora", seen)
    assert isinstance(finetune("autolora", encoder, tmp_path, "--radius", 0.2).exception, Enough)
    assert given["judged_by"] == PGD(0.2, 0.05, 20)
    assert given["attack"] == PGD(0.2, 0.5, 1)


@pytest.mark.parametrize(
    ("mode", "option", "value"),
    [
        ("slf", "--radius", 0.1), ("sff", "--attack-steps", 2), ("alf", "--clusters", 5), ("aff", "--dual-bn", None),
        ("lpaft", "--rank", 2), ("lpaft", "--lr", 0.1),
    ],
)  # fmt: skip
def test_an_option_that_would_be_ignored_is_wrong_usage(
    mode: str, option: str, value: Any, encoder: Path, tmp_path: Path
) -> None:
    """Exit code 2, one sentence that names it, and nothing is made."""
    words = (option,) if value is None else (option, value)
    got = command("finetune", mode, "--from", encoder, "--out", tmp_path / "run", *words)
    assert got.exit_code == 2
    assert f"{option} would be without effect on {mode}" in " ".join(got.stderr.split())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("slff", ()), ("slf", ("--precision", "fp16")), ("slf", ("--lr", 0)), ("alf", ("--radius", 0)),
        ("lpaft", ("--epochs", 1)), ("slf", ("--device", "toaster")), ("autolora", ("--rank", 0)),
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(mode: str, words: tuple[Any, ...], encoder: Path, tmp_path: Path) -> None:
    """An unknown mode, precision or device; a rate or radius of 0; one epoch for two trainings."""
    assert command("finetune", mode, "--from", encoder, "--out", tmp_path, *words).exit_code == 2


@pytest.mark.parametrize("kind", ["missing", "folder", "torn", "foreign", "other"])
def test_what_holds_no_network_is_refused(kind: str, encoder: Path, tmp_path: Path) -> None:
    """The sentence names the file, and no folder is made."""
    path = tmp_path / "w.pt"
    if kind == "folder":
        path.mkdir()
    elif kind == "torn":
        path.write_bytes(encoder.read_bytes()[:9000])
    elif kind == "foreign":
        path.write_text("hello")
    elif kind == "other":
        torch.save({"state_dict": {}}, path)
    got = finetune("slf", path, tmp_path / "run")
    assert isinstance(got.exception, DataError)
    assert str(path) in str(got.exception)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("mode", "data", "said"),
    [
        ("slf", "bare", "fine-tuning by slf needs labels"),
        ("slf", "rgb", "3 channels and 8 pixels, the network takes 1 and 8"),
        ("aff", "large", "1 channels and 16 pixels, the network takes 1 and 8"),
        ("lpaft", "large", "1 channels and 16 pixels, the network takes 1 and 8"),
    ],
)
def test_data_of_another_kind_is_refused(mode: str, data: str, said: str, encoder: Path, tmp_path: Path) -> None:
    """No labels, other channels, other sizes: one sentence, before anything is trained."""
    (tmp_path / "made.py").write_text(FACTORIES)
    got = finetune(mode, encoder, tmp_path / "run", "--data", f"{tmp_path}/made.py:{data}")
    assert isinstance(got.exception, DataError), got.output
    assert said in str(got.exception)
    assert not (tmp_path / "run").exists()


def test_lpaft_reads_no_labels(encoder: Path, tmp_path: Path) -> None:
    """Images without labels are enough; the head has one output for each cluster, and the routes are as asked."""
    (tmp_path / "made.py").write_text(FACTORIES)
    words = ("--data", f"{tmp_path}/made.py:bare", "--clusters", 3, "--dual-bn")
    got = finetune("lpaft", encoder, tmp_path / "run", *words)
    assert got.exit_code == 0, got.output
    spec = load_network(tmp_path / "run" / MODEL).spec
    assert (spec.classes, spec.dual_bn) == (3, True)


def test_what_is_too_small_or_not_a_folder_is_refused(encoder: Path, tmp_path: Path) -> None:
    """Too few images to hold out a twentieth, more clusters than images, or a file where the folder should be."""
    assert isinstance(finetune("autolora", encoder, tmp_path / "a", "--rows", 10).exception, BudgetError)
    assert "100" in str(finetune("lpaft", encoder, tmp_path / "b", "--clusters", 100).exception)
    (tmp_path / "file").write_text("mine")
    assert isinstance(finetune("slf", encoder, tmp_path / "file").exception, DataError)
    assert (tmp_path / "file").read_text() == "mine"

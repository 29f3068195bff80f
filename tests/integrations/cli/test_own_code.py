"""Networks, losses, views and loops of the user's on the command line, and stored coresets: every command takes them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from own_parts import own_file
from typer.testing import CliRunner

from coreselect import Selection
from coreselect.cli.app import build
from coreselect_integrations import own_code
from coreselect_integrations.networks import load_network
from coreselect_integrations.pretraining.snapshots import snapshot_path

pytest.importorskip("kornia")
pytest.importorskip("sklearn", reason="digits come with scikit-learn")
DATA = ("--data", "digits", "--rows", 120)
SHORT = ("--epochs", 2, "--batch-size", 40, "--attack-steps", 1)


def command(*words: object) -> Any:
    """Run the application in this process, as a new one that has admitted no code, and expect that it succeeds."""
    own_code._ADMITTED.clear()
    got = CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "80"})
    assert got.exit_code == 0, got.output + str(got.exception)
    return got


def refused(*words: object) -> str:
    """Return why a command is refused, in a process that has admitted no code."""
    own_code._ADMITTED.clear()
    got = CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "400"})
    assert got.exit_code != 0
    return got.output + str(got.exception)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("cross_entropy(o, y)", "one value for each example"),
        ("cross_entropy(o, y, reduction='none').detach()", "no gradient"),
    ],
)
def test_fine_tuning_refuses_a_loss_that_nothing_can_be_trained_by(body: str, said: str, tmp_path: Path) -> None:
    """Before the first epoch, as training does."""
    file, wrong = own_file(tmp_path), tmp_path / "wrong.py"
    wrong.write_text(f"from torch.nn.functional import cross_entropy\n\n\ndef wrong(o, y):\n    return {body}\n")
    model = ("--model", f"{file}:make")
    command("train", "standard", *DATA, *model, "--epochs", 1, "--out", tmp_path / "a")
    words = (
        "--from",
        tmp_path / "a",
        *model,
        *DATA,
        "--loss",
        f"{wrong}:wrong",
        "--epochs",
        1,
        "--out",
        tmp_path / "b",
    )
    assert said in refused("finetune", "slf", *words)
    assert not (tmp_path / "b" / "log.jsonl").exists()


def test_a_network_of_ones_own_goes_through_every_command(tmp_path: Path) -> None:
    """Train with an own loss, select from the run, fine-tune, evaluate: each is given the file, and refuses to go without."""
    file = own_file(tmp_path)
    model, out = ("--model", f"{file}:make"), tmp_path / "run"
    command("train", "sat", *DATA, *SHORT, *model, "--loss", f"{file}:smooth", "--step", 0.04, "--out", out)
    select = ("select", "--from", out, *DATA, "--count", 8, "--out", tmp_path / "c.npz")
    command(*select, *model, "--loss", f"{file}:smooth")
    assert "code of yours" in refused(*select)
    assert "--loss nets.py:smooth" in refused(*select, *model, "--loss", f"{file}:plain")
    command("finetune", "slf", "--from", out, *model, *DATA, "--epochs", 1, "--out", tmp_path / "slf")
    tests = ("--data", "digits", "--rows", 20, "--attacks", "none", "--json")
    first = json.loads(command("evaluate", "--from", out, *model, *tests).stdout)
    again = json.loads(command("evaluate", *model, "--checkpoint", out / "model.pt", *tests).stdout)
    assert first["standard"] == again["standard"]
    assert "code of yours, nets.py:make" in refused("evaluate", "--from", out, *tests)
    assert "give --from, or --model" in refused("evaluate", *tests)
    own_file(tmp_path, more="# another text")
    assert "whose file has another text" in refused("evaluate", "--from", out, *model, *tests)


def test_weights_of_ones_own_begin_training_and_tuning_and_are_measured(tmp_path: Path) -> None:
    """--model with --checkpoint serves train, finetune and fidelity."""
    file = own_file(tmp_path)
    model = ("--model", f"{file}:make")
    command("train", "standard", *DATA, "--epochs", 1, *model, "--out", tmp_path / "a")
    weights = (*model, "--checkpoint", tmp_path / "a" / "model.pt")
    command("train", "standard", *DATA, "--epochs", 1, *weights, "--out", tmp_path / "b")
    command("finetune", "sff", *weights, *DATA, "--epochs", 1, "--out", tmp_path / "c")
    tables = ("--epochs", 1, "--eval", "none", "--test-rows", 20)
    command("finetune", "slf,sff", *weights, *DATA, *tables, "--out", tmp_path / "d")
    assert {*json.loads((tmp_path / "d" / "results.json").read_text())["networks"][0]["accuracy"]} == {"slf", "sff"}
    measured = ("--groups", 3, "--sets", 2, "--attack-steps", 1, "--rd-steps", 1, "--sketch", 8)
    command("fidelity", *weights, "--data", "digits", "--rows", 150, *measured)


def test_several_modes_fine_tune_a_trained_network_of_ones_own(tmp_path: Path) -> None:
    """--from with --model serves several modes as it serves one, and other code is refused before the first mode trains."""
    file = own_file(tmp_path)
    command("train", "standard", *DATA, "--epochs", 1, "--model", f"{file}:make", "--out", tmp_path / "a")
    tables = ("--epochs", 1, "--eval", "none", "--test-rows", 20)
    words = ("--from", tmp_path / "a", *DATA, *tables, "--out", tmp_path / "b")
    for other in ((), ("--model", f"{file}:near")):
        assert "code of yours, nets.py:make" in refused("finetune", "slf,sff", *words, *other)
    assert not (tmp_path / "b" / "slf").exists()
    command("finetune", "slf,sff", *words, "--model", f"{file}:make")
    kept = json.loads((tmp_path / "b" / "results.json").read_text())
    assert {*kept["networks"][0]["accuracy"]} == {"slf", "sff"}


def test_fine_tuning_by_a_loss_of_ones_own(tmp_path: Path) -> None:
    """The function's loss is minimised in each mode, an equal loss gives equal weights, and a run keeps its loss by digest."""
    file = own_file(tmp_path)
    command("train", "standard", *DATA, "--epochs", 1, "--arch", "small", "--out", tmp_path / "a")
    words = ("--from", tmp_path / "a", *DATA, "--epochs", 1)
    steps = {"slf": (), "alf": ("--attack-steps", 1), "sff": (), "aff": ("--attack-steps", 1)}
    for mode, attack in steps.items():
        command("finetune", mode, *words, *attack, "--loss", f"{file}:smooth", "--out", tmp_path / mode)
    for mode in ("slf", "alf"):  # their published loss is cross-entropy
        command("finetune", mode, *words, *steps[mode], "--loss", f"{file}:plain", "--out", tmp_path / f"{mode}-plain")
        command("finetune", mode, *words, *steps[mode], "--out", tmp_path / f"{mode}-usual")
        plain, usual, smooth = (load_network(tmp_path / f"{mode}{x}" / "model.pt") for x in ("-plain", "-usual", ""))
        assert all(torch.equal(plain.weights[key], value) for key, value in usual.weights.items())
        assert not all(torch.equal(smooth.weights[key], value) for key, value in usual.weights.items())
        assert smooth.about["loss"].startswith("nets.py:smooth@")
    assert "loss" in refused("finetune", "slf", *words, "--loss", f"{file}:plain", "--out", tmp_path / "slf")
    tables = ("--eval", "none", "--test-rows", 20, "--attack-steps", 1)
    command("finetune", "all", *words, *tables, "--loss", f"{file}:smooth", "--out", tmp_path / "tables")
    kept = json.loads((tmp_path / "tables" / "results.json").read_text())
    assert {*kept["networks"][0]["accuracy"]} == {"slf", "alf", "aff"}


@pytest.mark.parametrize(
    ("mode", "loss", "said"),
    [
        ("semi", "smooth", "--loss would be without effect on semi"),
        ("lpaft", "smooth", "--loss would be without effect on lpaft"),
        ("slf", "Robust", "reads attacked inputs, and slf trains on natural ones"),
        ("aff", "Natural", "reads natural inputs, and aff trains on attacked ones"),
        ("slf", "Pairs", "reads 2 views, and fine-tuning has one"),
        ("slf", "missing", "missing"),
    ],
)
def test_a_loss_that_does_not_fit_the_mode_is_refused(mode: str, loss: str, said: str, tmp_path: Path) -> None:
    """One sentence says what the loss reads, and what the mode trains on."""
    file = own_file(
        tmp_path,
        more="from coreselect.losses import ACL, CE, SAT\n\nRobust, Natural, Pairs = SAT, CE, ACL\n",
    )
    command("train", "standard", *DATA, "--epochs", 1, "--out", tmp_path / "a")
    own = ("--from", tmp_path / "a", *DATA, "--loss", f"{file}:{loss}", "--out", tmp_path / "b")
    assert said in " ".join(refused("finetune", mode, *own).replace("│", " ").split())
    assert not (tmp_path / "b" / "model.pt").exists()


def test_several_modes_refuse_an_unfit_loss_before_the_first_trains(tmp_path: Path) -> None:
    """slf could train by a natural loss, alf could not: neither begins. A function of other arguments is refused too."""
    more = (
        "from coreselect.losses import CE\n\nNatural = CE\n\n\ndef three(natural, attacked, labels):\n    return None\n"
    )
    file = own_file(tmp_path, more=more)
    command("train", "standard", *DATA, "--epochs", 1, "--out", tmp_path / "a")
    words = ("--from", tmp_path / "a", *DATA, "--epochs", 1, "--out", tmp_path / "b")
    assert "reads natural inputs, and alf trains on attacked" in refused(
        "finetune", "slf,alf", *words, "--loss", f"{file}:Natural"
    )
    assert "three(natural, attacked, labels)" in refused("finetune", "slf,sff", *words, "--loss", f"{file}:three")
    assert not (tmp_path / "b" / "slf").exists()


def test_a_comparison_takes_a_network_a_loss_and_a_loop(tmp_path: Path) -> None:
    """All cells finish; the study names the code by its digest; milestones and weight decay are its settings."""
    file = own_file(tmp_path)
    own = ("--model", f"{file}:make", "--loss", f"{file}:smooth", "--trainer", f"{file}:train")
    plan = (
        "--selectors",
        "rs2",
        "--seeds",
        1,
        "--fractions",
        0.2,
        "--no-full",
        "--warmup",
        1,
        "--every",
        1,
        "--test-rows",
        20,
    )
    curve = ("--curve", "stairs", "--milestones", 1, "--weight-decay", 0.001)
    got = command("compare", *DATA, *SHORT, *own, *plan, *curve, "--out", tmp_path / "out", "--json")
    study = json.loads(got.stdout)["study"]
    names = {"arch": "make", "own_loss": "smooth", "own_epoch": "train"}
    assert all(study[key].startswith(f"nets.py:{name}@") for key, name in names.items())
    assert (study["milestones"], study["weight_decay"]) == ([1], 0.001)
    assert "the curve is cosine" in refused("compare", "--milestones", "1", "--out", tmp_path / "x")


def test_a_selection_is_trained_on_by_another_network(tmp_path: Path) -> None:
    """The file knows the images that were held out, or the same options are given; other data and options are refused."""
    file, index = own_file(tmp_path), tmp_path / "c.npz"
    chosen = (
        "select",
        *DATA,
        "--validation",
        12,
        "--seed",
        3,
        "--count",
        16,
        "--out",
        index,
        "--model",
        f"{file}:make",
    )
    command(*chosen, "--rd-steps", 1, "--attack-steps", 1)
    train = ("train", "sat", *SHORT, "--step", 0.04, "--arch", "small", "--coreset", index)
    got = command(*train, *DATA, "--out", tmp_path / "a", "--snapshot-every", 1)
    assert "108 images, 12 more held out" in got.stderr
    assert "the 16 of" in got.stderr
    assert {*Selection.load(tmp_path / "a" / "coreset.npz").indices} == {*Selection.load(index).indices}
    path = snapshot_path(tmp_path / "a", 0)
    assert load_network(path).about["epoch"] == 0
    again = ("select", "--from", path, *DATA, "--count", 8, "--rd-steps", 1, "--out", tmp_path / "d.npz")
    assert "epoch 1 of 2 of sat" in command(*again).stderr.replace("\n", " ")
    assert "made from a pool of 108" in refused(*train, "--data", "digits", "--rows", 110, "--out", tmp_path / "b")
    assert "--selector, --fraction would be without effect" in refused(
        *train, *DATA, "--selector", "rcs", "--fraction", "0.1"
    )


def test_a_probe_is_in_the_log_and_on_the_line_of_its_epoch(tmp_path: Path) -> None:
    """Both accuracies, every second epoch; a supervised run has no probe; --from begins another run."""
    acl = (
        "train",
        "acl",
        *DATA,
        *SHORT,
        "--optimiser",
        "sgd",
        "--lr",
        0.05,
        "--lr-warmup",
        0,
        "--step",
        0.04,
        "--arch",
        "small",
    )
    got = command(*acl, "--out", tmp_path / "a", "--probe-every", 2, "--validation", 20)
    assert "probe SA" in got.stderr
    records = [json.loads(line) for line in (tmp_path / "a" / "log.jsonl").read_text().splitlines()]
    assert ["probe" in r for r in records] == [False, True]
    assert "is for contrastive systems" in refused("train", "sat", "--probe-every", 1, "--out", tmp_path / "x")
    command(
        "train",
        "sat",
        *DATA,
        *SHORT,
        "--step",
        0.04,
        "--arch",
        "small",
        "--from",
        tmp_path / "a",
        "--out",
        tmp_path / "b",
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--model", "a.py:f", "--arch", "small"), "two networks"),
        (("--checkpoint", "w.pt"), "--checkpoint needs --model"),
        (("--routes", "a,b"), "--routes is for --model"),
        (("--loss", "trades"), "file.py:loss"),
    ],
)
def test_options_that_do_not_go_together_are_refused(words: tuple[str, ...], why: str, tmp_path: Path) -> None:
    """In one sentence, before anything is read."""
    assert why in refused("train", "sat", *words, "--out", tmp_path)


@pytest.mark.parametrize(
    ("words", "why"),
    [(("--routes", "a,b"), "--routes is for --model"), (("--weights-key", "net"), "--weights-key is for --checkpoint")],
)
def test_fine_tuning_refuses_options_of_a_network_that_is_not_given(
    words: tuple[str, ...], why: str, tmp_path: Path
) -> None:
    """In one sentence, before anything is read."""
    assert why in refused("finetune", "slf", "--from", "m.pt", *words, "--out", tmp_path)

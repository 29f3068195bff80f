"""Published checkpoints on the command line: converted, fine-tuned, evaluated, and selected from."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from published import PublishedResNet, at_random
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect.errors import CoreselectError, DataError, RequirementError
from coreselect.io.index_file import read
from coreselect_integrations.networks import load_network

pytest.importorskip("kornia", reason="contrastive views come with kornia")
DATA = """
import torch

def images(split):
    g = torch.Generator().manual_seed(0 if split == "train" else 1)
    return torch.utils.data.TensorDataset(torch.rand(40, 3, 8, 8, generator=g), torch.arange(40) % 4)

def more(split):
    g = torch.Generator().manual_seed(0)
    return torch.utils.data.TensorDataset(torch.rand(120, 3, 8, 8, generator=g), torch.arange(120) % 4)

def large(split):
    return torch.utils.data.TensorDataset(torch.rand(40, 3, 16, 16), torch.arange(40) % 4)
"""


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "80"})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a published encoder, its momentum form, a classifier, one without a head, and small images."""
    folder = tmp_path_factory.mktemp("published")
    (folder / "data.py").write_text(DATA)
    encoder = at_random(PublishedResNet(names=("normal", "pgd"))).state_dict()
    torch.save({"state_dict": encoder, "epoch": 1000}, folder / "encoder.pt")
    both = {f"encoder_{k}.{n}": t for k in "qk" for n, t in encoder.items()}
    torch.save({"state_dict": both}, folder / "momentum.pt")
    torch.save(at_random(PublishedResNet(classes=4)).state_dict(), folder / "classifier.pt")
    torch.save({n: t for n, t in encoder.items() if not n.startswith("fc.")}, folder / "bare.pt")
    return folder


@pytest.fixture(scope="module")
def converted(place: Path) -> Path:
    """The encoder as a file of our own, for images of 8 pixels."""
    got = command("convert", place / "encoder.pt", place / "ours.pt", "--size", 8)
    assert got.exit_code == 0, got.output
    assert (
        "recognised resnet18 for 3×8×8 with the cifar stem, two routes and a 3-layer projection head: 256 tensors"
        in got.stderr
    )
    assert "the first set of normalisations is taken for natural images" in got.stderr
    assert "taken as trained under the preset cifar10-acl" in got.stderr
    return place / "ours.pt"


def test_a_converted_network_has_the_published_tensors_and_says_where_it_comes_from(
    place: Path, converted: Path
) -> None:
    """Bit for bit, with the settings of the preset that trains such a network; options change what the file does not say."""
    published, saved = torch.load(place / "encoder.pt")["state_dict"], load_network(converted)
    assert torch.equal(saved.weights["blocks.7.norm2.adversarial.bias"], published["layer4.1.bn2.bn_list.1.bias"])
    assert (saved.about["published"], saved.about["system"], saved.about["epochs"]) == ("encoder.pt", "acl", 1000)
    words = ("--routes", "adversarial,natural", "--prefix", "encoder_q", "--preset", "cifar10-dynacl", "--size", 8)
    got = command("convert", place / "momentum.pt", place / "other.pt", *words, "--mean", "0.5", "--std", "0.25")
    assert got.exit_code == 0, got.output
    assert "left out: encoder_k (256 tensors)" in got.stderr
    saved = load_network(place / "other.pt")
    assert torch.equal(saved.weights["blocks.7.norm2.natural.bias"], published["layer4.1.bn2.bn_list.1.bias"])
    assert saved.about["system"] == "dynacl"
    assert saved.weights["normalise.mean"].flatten().tolist() == [0.5] * 3
    assert "pixels are normalised by the numbers given, not by those in the file" in got.stderr


def test_a_converted_network_is_selected_from_under_the_loss_of_its_run(place: Path, converted: Path) -> None:
    """Two views and two routes, as in ACL; the index file says which network it was, and the held-out images are the run's."""
    data = f"{place}/data.py:more"
    words = ("--data", data, "--selector", "rcs", "--fraction", 0.5, "--attack-steps", 1, "--rd-steps", 1, "--json")
    got = command("select", "--from", converted, "--out", place / "c.npz", *words)
    assert got.exit_code == 0, got.output
    told = json.loads(got.stdout)
    assert told["model"]["system"] == "acl"
    assert told["provenance"]["task"]["loss"] == {"type": "ACL", "temperature": 0.5, "omega": 0.0}
    assert len(read(place / "c.npz")[0]["indices"]) == 59  # of 119, one held out: a hundredth, as in training
    refused = command("select", "--from", converted, "--out", place / "d.npz", "--loss", "sat", *words)
    assert refused.exit_code == 2
    assert "--loss would be without effect with --from" in " ".join(refused.stderr.split())
    other = command(
        "select", "--from", converted, "--out", place / "d.npz", "--data", f"{place}/data.py:large", *words[2:]
    )
    assert "images of 3 channels and 16 pixels" in str(other.exception)
    headless = command("select", "--from", place / "bare.pt", "--out", place / "d.npz", *words)
    assert isinstance(headless.exception, RequirementError)
    assert "holds no head" in str(headless.exception)


def test_a_converted_network_is_fine_tuned_and_evaluated(place: Path, converted: Path) -> None:
    """All tensors of the extractor are loaded; a published classifier is evaluated as it is."""
    data = f"{place}/data.py:images"
    short = ("--data", data, "--epochs", 1, "--batch-size", 20)
    got = command("finetune", "slf", "--from", converted, "--out", place / "slf", *short)
    assert got.exit_code == 0, got.output
    assert "tensors came from" in got.stdout
    assert command("evaluate", "--from", place / "slf", "--data", data, "--attacks", "none").exit_code == 0
    assert command("convert", place / "classifier.pt", place / "c.pt", "--size", 8).exit_code == 0
    got = command("evaluate", "--from", place / "c.pt", "--data", data, "--attacks", "none", "--json")
    assert 0 <= json.loads(got.stdout)["standard"] <= 1
    assert command("convert", place / "bare.pt", place / "b.pt", "--size", 8).exit_code == 0
    refused = command("evaluate", "--from", place / "b.pt", "--data", data).stderr
    assert "is an extractor" in " ".join(refused.replace("│", " ").split())


def test_commands_read_published_files_themselves(place: Path) -> None:
    """The file is for images of 32 pixels, others are refused after saying what was recognised."""
    got = command(
        "finetune", "slf", "--from", place / "encoder.pt", "--out", place / "x", "--data", f"{place}/data.py:images"
    )
    assert isinstance(got.exception, DataError)
    assert "encoder.pt: recognised resnet18 for 3×32×32" in got.stderr
    assert "images of 3 channels and 8 pixels, the network takes 3 and 32" in str(got.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere.pt", "o.pt"), "there is no file"),
        (("encoder.pt", "o.npz"), "ends in .pt"),
        (("encoder.pt", "o.pt", "--routes", "pgd,normal"), "--routes is natural,adversarial"),
        (("encoder.pt", "o.pt", "--mean", "0.5"), "--mean and --std go together"),
        (("encoder.pt", "o.pt", "--mean", "a", "--std", "b"), "--mean are numbers"),
        (("encoder.pt", "o.pt", "--mean", "0.5", "--std", "0"), "the std 0 of pixels: give finite numbers above 0"),
        (("classifier.pt", "o.pt", "--routes", "adversarial,natural"), "--routes would be without effect"),
        (("encoder.pt", "o.pt", "--preset", "cifar10-sat"), "--preset cifar10-sat trains resnet18 as a classifier"),
        (("encoder.pt", "o.pt", "--preset", "none"), "no preset is called"),
        (("encoder.pt", "o.pt", "--part", "ema"), "not under 'ema'"),
        (("ours.pt", "o.pt"), "is a file of coreselect already"),
        (("ours.pt", "o.pt", "--size", 32), "leave the other options out"),
        (("c.npz", "o.json", "--size", 32), "--size would be without effect: it is for network files"),
    ],
)
def test_what_cannot_be_converted_is_refused(words: tuple[Any, ...], said: str, place: Path, converted: Path) -> None:
    """One sentence, and nothing is written."""
    got = command("convert", place / words[0], place / words[1], *words[2:])
    assert got.exit_code != 0
    refusal = str(got.exception) if isinstance(got.exception, CoreselectError) else got.stderr
    assert said in " ".join(refusal.replace("│", " ").split())
    assert not (place / words[1]).exists()

"""What cannot be trained, or not be saved, is refused before the first epoch: networks and losses of the user's."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect_integrations import own_code

pytest.importorskip("kornia")
pytest.importorskip("sklearn", reason="digits come with scikit-learn")

FILE = """
import torch
from torch import nn
from torch.nn.functional import cross_entropy


def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))


def meta():
    return net().to("meta")


def half():
    return net().bfloat16()


def fixed():
    return net().requires_grad_(False)


def mean(outputs, labels):
    return cross_entropy(outputs, labels)
"""
DATA = ("--data", "digits", "--rows", "60", "--validation", "10")


def refused(folder: Path, *words: str) -> str:
    """Return why a command is refused, and expect that it has written no network."""
    own_code._ADMITTED.clear()
    (folder / "own.py").write_text(FILE)
    own = [word.replace("own.py", f"{folder}/own.py") for word in words]
    got = CliRunner().invoke(build(), [*own, *DATA, "--out", str(folder / "out.npz")], env={"COLUMNS": "400"})
    assert got.exit_code != 0
    assert not list(folder.rglob("model.pt"))
    assert not list(folder.rglob("last.pt"))
    return got.output + str(got.exception)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lazy", r"lazy layers whose parameters are not made yet \(1.weight, 1.bias\)"),
        ("meta", "on the device meta, where they have no values"),
        ("half", "has parameters in torch.bfloat16, and float32 for all"),
        ("fixed", "no parameter to train"),
    ],
)
def test_a_network_that_cannot_be_trained_or_saved_is_refused_before_training(
    name: str, said: str, tmp_path: Path
) -> None:
    """A lazy network was trained to the end, and then not saved."""
    words = ("train", "sat", "--model", f"own.py:{name}", "--epochs", "1", "--attack-steps", "1")
    assert re.search(said, refused(tmp_path, *words))


@pytest.mark.parametrize(
    ("name", "said"), [("lazy", "are not made yet (lazy modules)"), ("meta", "on the device meta")]
)
def test_a_selection_refuses_a_network_without_values(name: str, said: str, tmp_path: Path) -> None:
    """In one sentence that names the parameters."""
    words = ("select", "--model", f"own.py:{name}", "--loss", "ce", "--selector", "craig", "--count", "8")
    assert said in refused(tmp_path, *words)


def test_a_loss_that_gives_one_number_is_refused_before_training(tmp_path: Path) -> None:
    """Also where all images are seen: the weights of a coreset would be lost in a mean."""
    words = (
        "train",
        "standard",
        "--model",
        "own.py:net",
        "--loss",
        "own.py:mean",
        "--epochs",
        "1",
        "--validation",
        "10",
    )
    assert "the loss 'mean' gives one number for a batch" in refused(tmp_path, *words)

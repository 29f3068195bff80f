"""`coreselect evaluate` compares the class names in model.pt with those of the data."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect.errors import DataError
from coreselect_integrations.networks import NetworkSpec, load_network, make, save_network

pytest.importorskip("sklearn", reason="digits come with scikit-learn")
N = 20
DIGITS = tuple("0123456789")


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words])


def named(path: Path, classes: tuple[str, ...] | None) -> Path:
    """A classifier of digits whose file names its classes."""
    spec = NetworkSpec("small", 1, 8, classes=10)
    save_network(path, make(spec, 3), spec, {}, classes)
    return path


@pytest.mark.parametrize("classes", [None, DIGITS])
def test_class_names_that_agree_or_are_missing_are_accepted(tmp_path: Path, classes: tuple[str, ...] | None) -> None:
    """Files of earlier releases have no names; names come back as they were saved."""
    path = named(tmp_path / "model.pt", classes)
    assert load_network(path).classes == classes
    assert command("evaluate", "--from", path, "--rows", N, "--attacks", "none", "--json").exit_code == 0


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (("1", "0", *DIGITS[2:]), "in another order .*class 0 is '0' here and '1' there"),
        (("zero", *DIGITS[1:]), "lacks zero and has the unknown 0"),
        (DIGITS[:9], "has 10 classes and the network was trained on 9"),
    ],
)
def test_other_class_names_are_refused_before_any_image(tmp_path: Path, classes: tuple[str, ...], said: str) -> None:
    """Another order, another name or another number: number c would mean two things."""
    got = command("evaluate", "--from", named(tmp_path / "model.pt", classes), "--rows", N)
    assert isinstance(got.exception, DataError)
    assert re.search(said, str(got.exception))


def test_names_that_are_not_texts_are_refused(tmp_path: Path) -> None:
    """`save_network` writes only texts under `classes`."""
    path = named(tmp_path / "model.pt", DIGITS)
    held = torch.load(path, weights_only=True)
    torch.save({**held, "classes": [1, 2]}, path)
    assert isinstance(command("evaluate", "--from", path, "--rows", N).exception, DataError)

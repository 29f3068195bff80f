"""The picture of a selection."""

import os
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import fakes
import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from coreselect.data import Images
from coreselect.errors import DataError, IndexFileError, MissingExtraError
from coreselect.report import gallery
from coreselect.report.made_from import made_from

pytest.importorskip("matplotlib", reason="galleries need coreselect[plot]")
PIXELS = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
DATA = Images(PIXELS, np.arange(60) % 10, "toy", [f"c$_{i}" for i in range(10)])


class Made(Dataset[Any]):
    """Items made by a function of the position."""

    def __init__(self, make: Any) -> None:
        self.make = make

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> Any:
        return self.make(index)


def size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG, from its header."""
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def test_a_picture_is_a_png_of_one_size(tmp_path: Path) -> None:
    """The picture is a PNG; missing labels, names, gains and images change its content, not its size."""
    gallery.draw(fakes.selection(), DATA, tmp_path / "a.png")
    gallery.draw(fakes.selection(gains=np.zeros(12)), Images(PIXELS[..., :1], None, "grey"), tmp_path / "b.png")
    gallery.draw(fakes.selection(k=50), DATA, tmp_path / "c.png", labels=np.arange(60), class_names=["x" * 30] * 60)
    assert size(tmp_path / "a.png") == size(tmp_path / "b.png") == size(tmp_path / "c.png")
    assert len({(tmp_path / f"{name}.png").read_bytes() for name in "abc"}) == 3


def test_a_picture_is_a_function_of_the_selection(tmp_path: Path) -> None:
    """Drawing twice gives the same picture, also for random items, and no global random state moves."""
    noisy = Made(lambda i: torch.rand(3, 8, 8) * random.random() * float(np.random.rand()))
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[index]  # legacy tuple
    gallery.draw(fakes.selection(), noisy, tmp_path / "a.png")
    assert random.getstate() == before[0]
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]  # legacy tuple
    assert torch.equal(torch.get_rng_state(), before[2])
    torch.rand(5)
    gallery.draw(fakes.selection(), noisy, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(("ending", "head"), [("pdf", b"%PDF"), ("SVG", b"<?xml")])
def test_the_ending_of_the_file_is_its_format(tmp_path: Path, ending: str, head: bytes) -> None:
    """PDF and SVG are written beside PNG, and drawing twice gives the same bytes."""
    for name in ("a", "b"):
        gallery.draw(fakes.selection(), DATA, tmp_path / f"{name}.{ending}")
    written = (tmp_path / f"a.{ending}").read_bytes()
    assert written.startswith(head)
    assert written == (tmp_path / f"b.{ending}").read_bytes()


PGD = {"type": "PGD", "radius": 8 / 255, "steps": 10, "norm": "linf", "bounds": [0.0, 1.0]}


@pytest.mark.parametrize(
    ("task", "command", "data", "words"),
    [
        ({"attack": PGD}, {}, "toy", "toy; attack: PGD, l∞ 8/255, 10 steps"),
        ({"attack": PGD}, {"options": {"data": "some/digits"}}, None, "digits; attack: PGD, l∞ 8/255, 10 steps"),
        ({"attack": {**PGD, "steps": 1, "bounds": [-1, 1], "radius": 0.25}}, {}, None, "attack: PGD, l∞ 0.25, 1 step"),
        ({"attack": "mine"}, {"options": {"data": None}}, None, "attack: mine"),
        ({"attack": None}, {}, "toy", "toy; no attack"),
        ({}, {}, None, ""),
        ({"arrays": ["features"]}, {}, "toy", "toy"),
    ],
)
def test_the_title_names_data_and_attack(
    tmp_path: Path, task: dict[str, Any], command: dict[str, Any], data: str | None, words: str
) -> None:
    """They are those of the index file; what it does not know is left out. The SVG has the words of the title."""
    made = fakes.selection()
    made = replace(made, provenance=replace(made.provenance, task=task, command=command))
    assert made_from(made.provenance, data) == words
    gallery.draw(made, Images(PIXELS, None, data) if data else Made(lambda i: torch.zeros(1, 4, 4)), tmp_path / "a.svg")
    assert words in (tmp_path / "a.svg").read_text(encoding="utf-8")  # a comment beside the outlines


def test_only_pool_images_are_shown(tmp_path: Path) -> None:
    """Of 60 images the picks and the rest of the pool are read once each; validation images are never read."""
    read: list[int] = []
    selection = fakes.selection()
    gallery.draw(selection, Made(lambda i: read.append(i) or torch.zeros(1, 4, 4)), tmp_path / "a.png")
    assert read[:12] == selection.source_indices.tolist()
    held = selection.provenance.validation_indices
    assert held is not None
    assert sorted(read) == np.setdiff1d(np.arange(60), held).tolist()


@pytest.mark.parametrize(
    "make",
    [
        lambda i: (torch.full((3, 4, 4), 0.5), i),
        lambda i: [torch.zeros(4, 4, dtype=torch.bfloat16)],
        lambda i: {"label": i, "pixel_values": torch.zeros(1, 4, 5)},
        lambda i: np.full((4, 4, 3), 255, np.uint8),
        lambda i: (np.zeros((4, 4), bool), 0),
        lambda i: torch.randn(3, 4 + i % 2, 4),
        lambda i: torch.full((4, 4, 4), float("nan")),
    ],
)
def test_images_of_any_usual_form_are_drawn(tmp_path: Path, make: Any) -> None:
    """Tensors, arrays, pairs, mappings, unequal sizes and values outside [0, 1] all give a picture."""
    gallery.draw(fakes.selection(), Made(make), tmp_path / "a.png")
    assert size(tmp_path / "a.png")[0] > 1000


def test_pillow_images_are_drawn(tmp_path: Path) -> None:
    """A dataset of Pillow images gives a picture."""
    image = pytest.importorskip("PIL.Image", reason="Pillow images need coreselect[data]")
    gallery.draw(fakes.selection(), Made(lambda i: (image.new("RGB", (4, 4), (i, 0, 0)), i)), tmp_path / "a.png")
    assert size(tmp_path / "a.png")[0] > 1000


def test_refusals_leave_the_old_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another ending, a dataset that is too short, items without images and a full disk raise errors; the old picture stays."""
    path = tmp_path / "a.png"
    path.write_bytes(b"old")
    with pytest.raises(DataError, match=r"a\.jpg ends in none of \.png, \.pdf and \.svg"):
        gallery.draw(fakes.selection(), DATA, tmp_path / "a.jpg")
    with pytest.raises(IndexFileError, match="the dataset has 20"):
        gallery.draw(fakes.selection(), DATA.first(20), path)
    with pytest.raises(DataError, match="has no image"):
        gallery.draw(fakes.selection(), Made(lambda i: "text"), path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(IndexFileError, match="No space left"):
        gallery.draw(fakes.selection(), DATA, path)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.png"]


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without matplotlib the error names the extra that installs it."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"coreselect\[plot\]"):
        gallery.draw(fakes.selection(), DATA, tmp_path / "a.png")

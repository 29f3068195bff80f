"""The presets of ImageNet on real photographs of different sizes: each trains, selects, trains on the coreset, and transfers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datafiles import python_cifar10
from photographs import photographs
from typer.testing import CliRunner

from coreselect import Selection
from coreselect.cli.app import build
from coreselect.data import load
from coreselect_integrations.networks import load_network
from coreselect_integrations.pretraining.presets import PRESETS, preset

pytest.importorskip("kornia", reason="random crops and views come with kornia")
pytestmark = pytest.mark.filterwarnings("ignore::coreselect.errors.CoreselectWarning")
QUICK = ("imagenet32-sat", "imagenet224-sat", "imagenet224-acl")
OF_IMAGENET = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow)
    for name in PRESETS
    if name.startswith("imagenet")
]
PIXELS = {"imagenet32": ("--size", 32, "--resize", "box"), "imagenet224": ("--size", 224, "--resize", "imagenet")}


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "80", "TERMINAL_WIDTH": "400"})


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("photographs") / "imagenet")


def trained(name: str, data: Path, out: Path, *words: object) -> list[dict[str, Any]]:
    """Two epochs of a preset, the second on a coreset of two groups of two; the records of both."""
    short = ("--epochs", 2, "--warmup", 1, "--every", 1, "--batch-size", 2, "--group-size", 2, "--validation", 2)
    pixels = PIXELS[name.partition("-")[0]]
    given = ("--preset", name, "--data", data, *pixels, "--selector", "rcs", "--fraction", 0.67, "--out", out)
    got = command("train", *given, *short, *words)
    assert got.exit_code == 0, (got.output, got.exception)
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def check(name: str, records: list[dict[str, Any]], out: Path) -> None:
    """Six images were trained on, then the four that were chosen; the network takes the preset's pixels."""
    assert [r["examples"] for r in records] == [6, 4]
    assert len(Selection.load(out / "coreset.npz")) == 4
    assert load_network(out / "model.pt").spec.size == int(name.partition("-")[0].removeprefix("imagenet"))


def test_the_photographs_are_of_different_sizes_and_modes(imagenet: Path) -> None:
    """So they are read only with a size; a grey one and a CMYK one are read as three channels."""
    files = load(str(imagenet)).files
    image = pytest.importorskip("PIL.Image")
    assert len({image.open(file).size for file in files}) > 2
    assert {image.open(file).mode for file in files} == {"L", "CMYK", "RGB"}
    assert {tuple(x.shape) for x, _ in load(str(imagenet), size=224, resize="imagenet")} == {(3, 224, 224)}


@pytest.mark.parametrize("name", OF_IMAGENET)
def test_every_preset_trains_selects_and_trains_on_the_coreset(name: str, imagenet: Path, tmp_path: Path) -> None:
    """With a small network in place of the preset's; everything else of the preset is as it is."""
    records = trained(name, imagenet, tmp_path, "--arch", "small", "--stem", "cifar")
    check(name, records, tmp_path)
    about = load_network(tmp_path / "model.pt").about
    assert (about["crop"], about["radius"], about["attack_steps"]) == (
        preset(name).crop,
        preset(name).radius,
        preset(name).attack_steps,
    )


@pytest.mark.slow
def test_a_network_of_224_pixels_transfers_to_smaller_images(imagenet: Path, tmp_path: Path) -> None:
    """Images of 32 pixels are read at 224, cut at random as for ImageNet in training and from the centre in evaluation.

    The linear and the full modes, AutoLoRa in its three forms and semi-supervised training all take 224 pixels.
    """
    python_cifar10(tmp_path / "cifar10")
    trained("imagenet224-standard", imagenet, tmp_path / "run", "--arch", "small", "--stem", "cifar")
    data = ("--data", tmp_path / "cifar10", "--size", 224, "--resize", "imagenet")
    for mode in ("slf", "sff", "autolora-slf", "autolora-alf", "autolora", "semi"):
        out = tmp_path / mode
        own = () if mode in ("slf", "sff", "autolora-slf") else ("--attack-steps", 1)
        own = (*own, "--labelled", 10, "--teacher", "slf") if mode == "semi" else own
        few = ("--epochs", 2 if mode == "semi" else 1, "--batch-size", 10)
        got = command("finetune", mode, "--from", tmp_path / "run", *data, *few, "--out", out, *own)
        assert got.exit_code == 0, (got.output, got.exception)
        assert run_settings(out / "student" if mode == "semi" else out)["crop"] == "resized"
        assert load_network(out / "model.pt").spec.size == 224
    got = command("evaluate", "--from", tmp_path / "slf", *data, "--attacks", "none", "--json")
    assert json.loads(got.stdout)["n"] == 4
    plain = ("--epochs", 1, "--batch-size", 10, "--crop", "pad", "--out", tmp_path / "pad")
    assert command("finetune", "slf", "--from", tmp_path / "run", *data, *plain).exit_code == 0
    assert "crop" not in run_settings(tmp_path / "pad")


def run_settings(folder: Path) -> dict[str, Any]:
    """The settings that a run keeps."""
    return torch.load(folder / "last.pt")["settings"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["imagenet32-sat", "imagenet32-fast-at", "imagenet32-acl", "imagenet224-sat", "imagenet224-fast-at",
             "imagenet224-acl"],
)  # fmt: skip
def test_presets_run_at_their_real_size(name: str, imagenet: Path, tmp_path: Path) -> None:
    """WRN-28-10 at 32 pixels and ResNet-50 at 224: two real updates under the published attack, then a selection."""
    pixels = PIXELS[name.partition("-")[0]]
    data = ("--data", imagenet, *pixels, "--rows", 6)
    few = ("--epochs", 1, "--batch-size", 2, "--validation", 2, "--lr", 0.001)
    whole = ("--selector", "full", "--fraction", 0.5, "--out", tmp_path / "run")
    got = command("train", "--preset", name, *data, *few, *whole)
    assert got.exit_code == 0, (got.output, got.exception)
    record = json.loads((tmp_path / "run" / "log.jsonl").read_text())
    assert (record["examples"], record["updates"]) == (4, 2)
    spec, about = (getattr(load_network(tmp_path / "run" / "model.pt"), part) for part in ("spec", "about"))
    assert spec.arch == ("wrn28_10" if "32-" in name else "resnet50")
    assert (spec.stem == "imagenet") == ("224" in name)
    assert about["attack_steps"] == preset(name).attack_steps
    chosen = (
        "--selector",
        "rcs",
        "--group-size",
        2,
        "--count",
        2,
        "--validation",
        2,
        "--out",
        tmp_path / "coreset.npz",
    )
    got = command("select", "--from", tmp_path / "run", *data, *chosen)
    assert got.exit_code == 0, (got.output, got.exception)
    assert len(Selection.load(tmp_path / "coreset.npz")) == 2

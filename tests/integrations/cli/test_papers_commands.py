"""docs/papers-commands.md: every line runs, in order, at a tiny size; each leaves what its section says."""

import json
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
import torch
from published import PublishedResNet, at_random
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect_integrations.cli.finetune import ALL
from coreselect_integrations.evaluation import named
from coreselect_integrations.pretraining.presets import PRESETS

PAGE = pages.DOCS / "papers-commands.md"
pytestmark = pytest.mark.skipif(not pages.THERE, reason="the documents are not part of the wheel")
NO_ATTACK = ("standard", "cl", "moco", "byol")
DATA_NAMES = ("cifar10", "cifar100", "imagenet", "imagenet32", "stl10_binary@unlabelled")
TWICE = ("lpaft", "semi")


def prepared(folder: Path) -> None:
    """Tiny images in place of CIFAR-10, a published file, and corrupted images."""
    (folder / "images").mkdir()
    for split, seed in (("train", 0), ("test", 1)):
        pixels = np.random.default_rng(seed).integers(0, 256, (48, 8, 8, 3), dtype=np.uint8)
        np.save(folder / "images" / f"images_{split}.npy", pixels)
        np.save(folder / "images" / f"labels_{split}.npy", np.arange(48) % 4)
    torch.save(
        {"state_dict": at_random(PublishedResNet(names=("normal", "pgd"))).state_dict()}, folder / "published.pt"
    )
    (folder / "CIFAR-10-C").mkdir()
    np.save(folder / "CIFAR-10-C" / "labels.npy", np.tile(np.arange(8) % 4, 5))
    np.save(folder / "CIFAR-10-C" / "fog.npy", np.random.default_rng(0).integers(0, 255, (40, 8, 8, 3), dtype=np.uint8))


def value(words: list[str], option: str) -> str | None:
    return words[words.index(option) + 1] if option in words else None


def tiny(words: list[str]) -> list[str]:
    """A line with tiny data and short runs; nothing that the line says is taken away, later values replace earlier ones."""
    pairs = zip(["", *words], words, strict=False)
    words = ["images" if word in DATA_NAMES and before == "--data" else word for before, word in pairs]
    command, preset = words[0], value(words, "--preset") or ""
    more: list[Any] = ["--size", 8] if "--size" in words else []
    if command == "train":
        system = preset.partition("-")[2] or words[1]
        more += ["--epochs", 2, "--batch-size", 16, "--arch", "small", "--stem", "cifar", "--validation", 4]
        more += [] if system in NO_ATTACK else ["--attack-steps", 1, "--step", 0.03]
        more += ["--warmup", 1, "--every", 1, "--fraction", 0.3] if "--selector" in words else []
        more += ["--rd-steps", 1, "--group-size", 2] if (value(words, "--selector") or "").startswith("rcs") else []
        more += ["--queue", 24] if system == "moco" else []
    elif command == "finetune":
        modes = ["slf", "alf", "aff"] if words[1] == "all" else words[1].split(",")
        more += ["--epochs", 2, "--batch-size", 24]
        more += [] if {*modes} <= {"slf", "sff"} else ["--attack-steps", 1]
        more += ["--clusters", 3] if modes == ["lpaft"] else []
        more += ["--labelled", 8, "--teacher", "sff"] if modes == ["semi"] else []
        more += ["--test-rows", 8] if len(modes) > 1 or "--eval" in words else []
    elif command == "compare":
        more += ["--epochs", 2, "--warmup", 1, "--every", 1, "--arch", "small", "--batch-size", 8, "--seeds", 1]
        more += ["--attack-steps", 1, "--validation", 4, "--test-rows", 8, "--fractions", "0.3"]
        more += ["--tuning-epochs", 1] if "--judged" in words else []
    elif command == "convert":
        more = ["--size", 8]
    elif command == "select":
        more = ["--validation", 4, "--attack-steps", 1, "--rd-steps", 1]
    elif command == "fidelity":
        more = ["--validation", 4, "--attack-steps", 1, "--rd-steps", 1, "--groups", 3, "--sets", 3, "--fraction", 0.3]
    elif command == "evaluate":
        more = ["--rows", 8, *(["--neighbours", 5] if "--neighbours" in words else [])]
    return [*words, *map(str, more)]


@pytest.mark.slow
def test_every_line_of_the_page_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 0, and the files of a run: a network, an index file, tables. AutoAttack is cut to a few steps."""
    pytest.importorskip("kornia")
    pytest.importorskip("pytorch_optimizer")
    pytest.importorskip("pyautoattack")
    pytest.importorskip("ot")
    monkeypatch.setattr(named, "autoattack", partial(named.autoattack, steps=2, queries=2))
    monkeypatch.chdir(tmp_path)
    prepared(tmp_path)
    lines = list(pages.commands(PAGE))
    assert len(lines) > 60
    for line in lines:
        words = tiny(shlex.split(line)[1:])
        got = CliRunner().invoke(build(), words)
        assert got.exit_code == 0, f"{' '.join(words)}\n{got.output}\n{got.exception!r}"
        out = value(words, "--out")
        if words[0] in ("train", "finetune"):
            assert out is not None
            whole = words[1] == "all" or "," in words[1]
            assert (tmp_path / out / ("results.json" if whole else "model.pt")).exists(), line
        if words[0] == "compare":
            assert out is not None
            assert (tmp_path / out / "results.json").exists(), line
    assert (tmp_path / "coreset.npz").exists()
    table = json.loads((tmp_path / "runs" / "published-all" / "results.json").read_text())
    assert table["measures"] == ["standard", "pgd20", "autoattack", "corruptions"]
    board = json.loads((tmp_path / "runs" / "leaderboard" / "results.json").read_text())
    assert [row["name"] for row in board["networks"]] == ["acl", "acl-rcs"]


def test_the_page_has_lines_of_every_command() -> None:
    """The page is read as the test above reads it: every line is ours, and none is left as it was."""
    lines = [shlex.split(line) for line in pages.commands(PAGE)]
    assert {words[0] for words in lines} == {"coreselect"}
    assert {words[1] for words in lines} >= {
        "train", "finetune", "evaluate", "convert", "select", "fidelity", "compare",
    }  # fmt: skip
    assert all(tiny(words[1:]) != words[1:] for words in lines)


def test_the_page_has_a_line_of_every_preset_of_the_papers() -> None:
    """Each table of the papers can be filled: the presets of pre-training, the ways of fine-tuning, and the systems."""
    lines = [shlex.split(line)[1:] for line in pages.commands(PAGE)]
    used = {value(words, "--preset") for words in lines}
    of_papers = {name for name in PRESETS if name.startswith(("imagenet32", "cifar10-")) and "trades" not in name}
    systems = {words[1] for words in lines if words[0] == "train"}
    left = {name for name in of_papers - used if name.partition("-")[2] not in systems}
    assert left == {"cifar10-standard", "imagenet32-fast-at", "cifar10-sat-fast"}  # no paper has a row for these
    modes = {mode for words in lines if words[0] == "finetune" for mode in words[1].split(",")}
    assert modes == {*ALL, "all"}

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
from coreselect_integrations.evaluation import named

PAGE = pages.DOCS / "papers-commands.md"
pytestmark = pytest.mark.skipif(not pages.THERE, reason="the documents are not part of the wheel")
DATA = """
import torch

def cifar10(split):
    g = torch.Generator().manual_seed(0 if split == "train" else 1)
    return torch.utils.data.TensorDataset(torch.rand(48, 3, 8, 8, generator=g), torch.arange(48) % 4)
"""
NO_ATTACK = ("standard", "cl")


def prepared(folder: Path) -> None:
    """Tiny images in place of CIFAR-10, a published file, and corrupted images."""
    (folder / "data.py").write_text(DATA)
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
    words = ["data.py:cifar10" if word == "cifar10" else word for word in words]
    command = words[0]
    more: list[Any] = []
    if command == "train":
        system = (value(words, "--preset") or words[1]).partition("-")[2] or words[1]
        more = ["--epochs", 2, "--batch-size", 16, "--arch", "small", "--validation", 4]
        more += [] if system in NO_ATTACK else ["--attack-steps", 1, "--step", 0.03]
        more += ["--warmup", 1, "--every", 1] if "--selector" in words else []
        more += ["--rd-steps", 1] if (value(words, "--selector") or "").startswith("rcs") else []
    elif command == "finetune":
        more = ["--epochs", 2, "--batch-size", 24]
        more += [] if words[1] == "slf" else ["--attack-steps", 1]
        more += ["--clusters", 3] if words[1] == "lpaft" else []
        more += ["--test-rows", 8] if "," in words[1] or words[1] == "all" else []
    elif command == "convert":
        more = ["--size", 8]
    elif command == "select":
        more = ["--validation", 4, "--attack-steps", 1, "--rd-steps", 1]
    elif command == "fidelity":
        more = ["--validation", 4, "--attack-steps", 1, "--rd-steps", 1, "--groups", 3, "--sets", 3, "--fraction", 0.3]
    elif command == "evaluate":
        more = ["--rows", 8]
    return [*words, *map(str, more)]


@pytest.mark.slow
def test_every_line_of_the_page_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 0, and the files of a run: a network, an index file, tables. AutoAttack is cut to a few steps."""
    pytest.importorskip("kornia")
    pytest.importorskip("pytorch_optimizer")
    pytest.importorskip("pyautoattack")
    monkeypatch.setattr(named, "autoattack", partial(named.autoattack, steps=2, queries=2))
    monkeypatch.chdir(tmp_path)
    prepared(tmp_path)
    lines = list(pages.commands(PAGE))
    assert len(lines) > 20
    for line in lines:
        words = tiny(shlex.split(line)[1:])
        got = CliRunner().invoke(build(), words)
        assert got.exit_code == 0, f"{' '.join(words)}\n{got.output}\n{got.exception!r}"
        out = value(words, "--out")
        if words[0] in ("train", "finetune"):
            assert out is not None
            whole = words[1] == "all" or "," in words[1]
            assert (tmp_path / out / ("results.json" if whole else "model.pt")).exists(), line
    assert (tmp_path / "coreset.npz").exists()
    table = json.loads((tmp_path / "runs" / "published-all" / "results.json").read_text())
    assert table["measures"] == ["standard", "pgd20", "autoattack", "corruptions"]
    board = json.loads((tmp_path / "runs" / "leaderboard" / "results.json").read_text())
    assert [row["name"] for row in board["networks"]] == ["acl", "acl-rcs"]


def test_the_page_has_lines_of_every_command() -> None:
    """The page is read as the test above reads it: every line is ours, and none is left as it was."""
    lines = [shlex.split(line) for line in pages.commands(PAGE)]
    assert {words[0] for words in lines} == {"coreselect"}
    assert {words[1] for words in lines} >= {"train", "finetune", "evaluate", "convert", "select", "fidelity"}
    assert all(tiny(words[1:]) != words[1:] for words in lines)

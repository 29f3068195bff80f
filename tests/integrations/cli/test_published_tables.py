"""A network of ours under the names of the published programs goes through a whole evaluation as it does under our own names."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from published import PublishedResNet
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect_integrations.evaluation import named
from coreselect_integrations.networks import load_network
from coreselect_integrations.networks.published_names import renamed, structure

pytest.importorskip("kornia", reason="contrastive views come with kornia")
pytest.importorskip("pyautoattack", reason="AutoAttack comes with pyautoattack")
DATA = """
import torch

def images(split):
    g = torch.Generator().manual_seed(0 if split == "train" else 1)
    y = torch.arange(24) % 4
    x = 0.1 + 0.2 * y.view(-1, 1, 1, 1) + 0.2 * torch.rand(24, 3, 32, 32, generator=g)
    return torch.utils.data.TensorDataset(x.clamp(0, 1), y)
"""


def command(*words: object) -> Any:
    """Run the application in this process."""
    done = CliRunner().invoke(build(), [str(w) for w in words], env={"COLUMNS": "80", "TERMINAL_WIDTH": "400"})
    assert done.exit_code == 0, (done.output, done.exception)
    return done


@pytest.mark.slow
def test_published_names_give_the_table_of_our_own_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ResNet-18 that ACL trained, as its `model.pt` and as a published `state_dict`: SLF, ALF and AFF, SA, PGD-20 and AA agree.

    AutoAttack is cut to a few steps.
    """
    monkeypatch.setattr(named, "autoattack", partial(named.autoattack, steps=5, queries=10))
    (tmp_path / "data.py").write_text(DATA)
    data = ("--data", f"{tmp_path}/data.py:images", "--attack-steps", 1)
    short = ("--epochs", 1, "--batch-size", 8)
    command("train", "acl", *data, *short, "--lr-warmup", 0, "--validation", 4, "--out", tmp_path / "acl")
    ours = load_network(tmp_path / "acl" / "model.pt").weights
    published = PublishedResNet(names=("normal", "pgd")).state_dict()
    found = structure(list(published), "resnet")
    for name in published:
        called = renamed(name, found)
        if called is not None and called in ours:
            published[name] = ours[called]
    torch.save({"state_dict": published, "epoch": 1}, tmp_path / "published.pt")
    tables = []
    for source in (tmp_path / "acl", tmp_path / "published.pt"):
        out = tmp_path / f"{source.stem}-all"
        ask = ("--eval", "pgd20,autoattack", "--test-rows", 8, "--out", out)
        got = command("finetune", "all", "--from", source, *data, *short, *ask)
        tables.append(json.loads((out / "results.json").read_text()))
    assert "published.pt: recognised resnet18 for 3×32×32" in got.stderr
    assert tables[0]["measures"] == ["standard", "pgd20", "autoattack"]
    one, two = (table["networks"][0] for table in tables)
    assert list(one["accuracy"]) == ["slf", "alf", "aff"]
    assert one["accuracy"] == two["accuracy"]
    assert one["mean"] == two["mean"]
    for mode in one["accuracy"]:
        a, b = (load_network(tmp_path / f"{n}-all" / mode / "model.pt").weights for n in ("acl", "published"))
        assert all(torch.equal(a[n], b[n]) for n in a if n != "normalise.mean" and n != "normalise.std")

"""A run in a folder can be killed at any moment, and is only continued with the same settings."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from coreselect.errors import DataError, RequirementError
from coreselect_integrations.training.runs import CHECKPOINT, LOG, Run


def parts() -> dict:
    model = nn.Linear(2, 1)
    return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)}


def one_epoch(kept: dict) -> float:
    """An update that draws from every global random state."""
    x = torch.rand(4, 2) + float(np.random.rand()) + random.random()
    loss = kept["model"](x).square().mean()
    kept["optimizer"].zero_grad()
    loss.backward()
    kept["optimizer"].step()
    return loss.item()


def finish(folder: Path, epochs: int, stop: int | None = None) -> dict:
    """Run to the end, or stop inside an epoch, which is lost."""
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    kept = parts()
    run = Run.open(folder, kept, {"lr": 0.1})
    for epoch in range(run.done, epochs):
        loss = one_epoch(kept)
        if epoch == stop:
            return kept
        run.keep({"loss": loss})
    return kept


@pytest.mark.parametrize("stop", [0, 1, 3])
def test_a_killed_run_ends_as_if_never_killed(tmp_path: Path, stop: int) -> None:
    """Weights, momenta, log lines and global draws are bit-identical, for a kill in any epoch."""
    whole = finish(tmp_path / "whole", 4)
    finish(tmp_path / "cut", 4, stop)
    resumed = finish(tmp_path / "cut", 4)

    for a, b in zip(whole["model"].parameters(), resumed["model"].parameters(), strict=True):
        assert torch.equal(a, b)
    assert (tmp_path / "whole" / LOG).read_text() == (tmp_path / "cut" / LOG).read_text()
    assert [json.loads(line)["epoch"] for line in (tmp_path / "cut" / LOG).read_text().splitlines()] == [0, 1, 2, 3]


def test_a_torn_log_is_written_anew_from_the_checkpoint(tmp_path: Path) -> None:
    """After a crash between checkpoint and log line, or in the middle of a line, the continued log is complete."""
    finish(tmp_path, 2)
    before = (tmp_path / LOG).read_text()
    (tmp_path / LOG).write_text(before.splitlines()[0] + '\n{"epo')
    Run.open(tmp_path, parts(), {"lr": 0.1})
    assert (tmp_path / LOG).read_text() == before


def test_a_crash_while_a_checkpoint_is_written_keeps_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If torch.save fails half-way, the folder holds the epoch before and nothing else."""
    finish(tmp_path, 1)

    def torn(state: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(KeyboardInterrupt):
        finish(tmp_path, 2)
    assert Run.open(tmp_path, parts(), {"lr": 0.1}).done == 1
    assert {p.name for p in tmp_path.iterdir()} == {CHECKPOINT, LOG}


def test_other_settings_are_refused(tmp_path: Path) -> None:
    """A different setting is refused, also one that only one of the two runs has."""
    finish(tmp_path, 1)
    with pytest.raises(RequirementError, match=r"lr 0\.1, this one has 0\.2"):
        Run.open(tmp_path, parts(), {"lr": 0.2})
    with pytest.raises(RequirementError, match="seed None, this one has 3"):
        Run.open(tmp_path, parts(), {"lr": 0.1, "seed": 3})


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    """It is refused in one sentence that says what to do, and nothing is restored."""
    (tmp_path / CHECKPOINT).write_bytes(b"not a checkpoint")
    with pytest.raises(DataError, match="remove it to begin anew"):
        Run.open(tmp_path, parts(), {})

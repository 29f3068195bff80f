"""A run in a folder can be killed at any moment, and is only continued with the same settings."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract import random_states
from torch import nn

from coreselect import InfoBatchSampler
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


def put(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Replace an entry of a checkpoint; the last of `path` is the new value."""
    *way, last, value = path

    def change(state: dict[str, Any]) -> None:
        inner: Any = state
        for name in way:
            inner = inner[name]
        inner[last] = value

    return change


MOMENTUM = ("parts", "optimizer", "state", 0, "momentum_buffer")
EDITS: dict[str, Callable[[dict[str, Any]], None]] = {
    **{f"records {value!r}": put("records", value) for value in ("abc", 5, [1, 2], [{}, {}], None)},
    "records without the first": lambda state: state.update(records=state["records"][1:]),
    "records many times": lambda state: state.update(records=state["records"] * 33),
    **{f"settings {value!r}": put("settings", value) for value in ([], None, "x")},
    **{f"parts {value!r}": put("parts", value) for value in (None, [], "model optimizer sampler")},
    **{f"random states {value!r}": put("rng", value) for value in (None, {}, {"python": 5})},
    "a random state of one generator": put("rng", "numpy", ["MT19937", torch.zeros(3), 0, 0, 0.0]),
    "a random state in words": put("rng", "torch", "x"),
    "no state of the optimiser": put("parts", "optimizer", "x"),
    "a state of a parameter in words": put("parts", "optimizer", "state", 0, "x"),
    "a momentum in words": put(*MOMENTUM, "x"),
    "a momentum of another shape": put(*MOMENTUM, torch.zeros(3)),
    "no epoch of the sampler": put("parts", "sampler", "epoch", None),
    "another epoch of the sampler": put("parts", "sampler", "epoch", 0),
    "more epochs before it began than there are": put("begun", 3),
    "epochs before it began in words": put("begun", "x"),
}


@pytest.mark.parametrize("kind", EDITS)
def test_an_edited_checkpoint_is_refused(tmp_path: Path, kind: str) -> None:
    """Whatever was put into it: one sentence says to remove it, and the random states are those of before."""
    kept = {**parts(), "sampler": InfoBatchSampler(4, 5)}
    run = Run.open(tmp_path, kept, {})
    for epoch in range(2):
        kept["sampler"].set_epoch(epoch)
        run.keep({"loss": one_epoch(kept)})
    del run
    state = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    assert Run.open(tmp_path, {**parts(), "sampler": InfoBatchSampler(4, 5)}, {}).done == 2
    EDITS[kind](state)
    torch.save(state, tmp_path / CHECKPOINT)
    states = random_states()
    with pytest.raises(DataError, match="remove it to begin anew") as refusal:
        Run.open(tmp_path, {**kept, "sampler": InfoBatchSampler(4, 5)}, {})
    assert "\n" not in str(refusal.value)
    assert random_states() == states


def test_a_run_that_began_from_another_goes_on_before_its_first_epoch(tmp_path: Path) -> None:
    """Its sampler has seen none of the epochs that the other run has done; after one of its own, it has to have."""
    other = Run.open(tmp_path / "other", parts(), {})
    other.keep({"loss": 1.0})
    kept = {**parts(), "sampler": InfoBatchSampler(4, 5)}
    began = {"start": tmp_path / "other", "not_from_start": ("sampler",)}
    run = Run.open(tmp_path / "run", kept, {}, **began)
    run.mark()
    del run
    fresh = {**parts(), "sampler": InfoBatchSampler(4, 5)}
    run = Run.open(tmp_path / "run", fresh, {}, **began)
    assert (run.done, fresh["sampler"].epoch) == (1, None)
    run.keep({"loss": 1.0})
    del run
    with pytest.raises(DataError, match="of epoch None"):
        Run.open(tmp_path / "run", {**parts(), "sampler": InfoBatchSampler(4, 5)}, {}, **began)

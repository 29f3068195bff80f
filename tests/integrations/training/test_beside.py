"""Checkpoints beside training: the copy is of the moment, an error is raised later, and a run is whole however it ends."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from coreselect.errors import RequirementError
from coreselect.io.weights_file import load_verified
from coreselect_integrations.training import beside, runs
from coreselect_integrations.training.runs import CHECKPOINT, LOG, Run
from coreselect_integrations.training.states import on_cpu


def trained(folder: Path, epochs: int, **options: Any) -> Run:
    """A run whose weights are the number of epochs that it has trained."""
    model = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(model.weight)
    run = Run.open(folder, {"model": model}, {}, **options)
    for _ in range(run.done, epochs):
        with torch.no_grad():
            model.weight += 1
        run.keep({"loss": 0.5})
    return run


def weight(folder: Path) -> float:
    return float(load_verified(folder / CHECKPOINT)["parts"]["model"]["weight"][0, 0])


def test_what_is_written_is_the_state_of_its_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training goes on while the file waits, and does not reach into it; the next checkpoint waits for this one."""
    monkeypatch.setattr(beside, "LARGE", 0)
    may, real = threading.Event(), torch.save

    def slow(state: Any, file: Any) -> None:
        assert may.wait(20)
        real(state, file)

    monkeypatch.setattr(runs.torch, "save", slow)
    run = trained(tmp_path, 1)
    with torch.no_grad():
        run.parts["model"].weight += 100  # type: ignore[attr-defined]
    assert not (tmp_path / CHECKPOINT).exists()
    may.set()
    run.finish()
    assert weight(tmp_path) == 1
    assert len((tmp_path / LOG).read_text().splitlines()) == 1


@pytest.mark.parametrize("large", [0, 2**40])
def test_a_checkpoint_every_so_many_epochs(large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log has every epoch at once; a run that was cut goes on from its last checkpoint; the end is always kept."""
    monkeypatch.setattr(beside, "LARGE", large)
    run = trained(tmp_path, 5, keep_every=2)
    run.beside.wait()
    assert weight(tmp_path) == 4
    assert len((tmp_path / LOG).read_text().splitlines()) == 5
    del run
    again = trained(tmp_path, 4, keep_every=2)
    assert again.done == 4
    assert len((tmp_path / LOG).read_text().splitlines()) == 4
    end = trained(tmp_path, 7, keep_every=2)
    end.finish()
    assert weight(tmp_path) == 7
    epochs = [json.loads(line)["epoch"] for line in (tmp_path / LOG).read_text().splitlines()]
    assert epochs == [*range(7)]


def test_a_checkpoint_that_fails_is_told_at_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is not lost with its thread."""
    monkeypatch.setattr(beside, "LARGE", 0)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(runs.torch, "save", full)
    run = trained(tmp_path, 1)
    with pytest.raises(OSError, match="No space left"):
        run.keep({"loss": 0.5})
    assert list(tmp_path.glob("*.tmp")) == []


def test_a_run_is_not_begun_while_its_folder_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second `Run.open` in this process waits for the file."""
    monkeypatch.setattr(beside, "LARGE", 0)
    trained(tmp_path, 3)
    assert trained(tmp_path, 3).done == 3


def test_keep_every_is_a_whole_number(tmp_path: Path) -> None:
    """At least 1."""
    with pytest.raises(RequirementError, match="keep_every must be a whole number, 1 or more"):
        trained(tmp_path, 1, keep_every=0)


def test_tensors_that_are_one_are_copied_once() -> None:
    """Tied weights stay tied in the copy, and the copy is not the original."""
    one = torch.ones(3)
    copy = on_cpu({"a": one, "b": [one], "c": one[:2]}, {})
    assert copy["a"] is copy["b"][0]
    assert copy["a"].data_ptr() != one.data_ptr()
    assert copy["c"].shape == (2,)


KILLED = """
import sys, torch
from pathlib import Path
from torch import nn
from coreselect_integrations.training import beside
from coreselect_integrations.training.runs import Run
beside.LARGE = 0
model = nn.Linear(1000, 1000)
run = Run.open(Path(sys.argv[1]), {"model": model}, {})
for epoch in range(10_000):
    nn.init.constant_(model.weight, epoch + 1.0)
    run.keep({"loss": 0.5})
    if epoch == 2:
        print("ready", flush=True)
"""


def test_a_kill_while_it_is_written_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """Its weights are those of one epoch, which is the number of its records."""
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    held = load_verified(tmp_path / CHECKPOINT)
    found = held["parts"]["model"]["weight"].unique().tolist()
    assert found == [float(len(held["records"]))]

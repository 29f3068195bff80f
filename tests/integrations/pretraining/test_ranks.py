"""A run of several ranks: one network on all of them, one writer, the same bits when resumed, and a failure with its reason."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import in_two_processes
from tiny_runs import images, tiny

from coreselect.attacks import PGD
from coreselect.errors import ScheduleError
from coreselect.objectives import RD
from coreselect.selectors import RCS
from coreselect.support import ranks
from coreselect.support.told import is_heard
from coreselect_integrations.networks import load_network
from coreselect_integrations.pretraining.run import MODEL, pretrain
from coreselect_integrations.training.runs import LOG

N = 51  # an uneven last batch of 3, which the first rank takes
TIMED = ("seconds", "select_seconds", "cpu_seconds", "select_cpu_seconds", "selection")


class Stop(Exception):
    """The run is stopped."""


def _run(system: str, folder: Path, stop_on: tuple[int, ...] = (), **changes: Any) -> dict[str, Any]:
    """Train, or stop on some ranks in the second epoch; return the bits of the network and what the log says."""

    def plug(part: str, done: int, total: int) -> None:
        assert total in (N, 12, 20) or part != "epoch 1", "progress counts the examples of whole batches"
        if part == "epoch 2" and ranks.rank() in stop_on:
            raise Stop("stopped here")

    rcs = RCS(objective=RD("kl", attack=PGD(8 / 255, 10 / 255, 1)))
    settings = tiny(system, **changes)
    made = ranks.together(
        lambda _: pretrain(settings, images(N), images(20, seed=8), folder, selector=rcs, progress=plug), "train"
    )
    log = [{k: v for k, v in record.items() if k not in TIMED} for record in made.records]
    return {"network": {k: v.numpy() for k, v in made.network.state_dict().items()}, "log": log}


def _rank(folder: str, rank: int) -> Any:
    torch.set_num_threads(1)
    ranks.LINGER = 1.0
    where = Path(folder)
    out: dict[str, Any] = {
        "sat": _run("sat", where / "sat"), "pair": _run("dynacl", where / "pair", key_momentum=0.9),
    }  # fmt: skip
    with pytest.raises(Stop):
        _run("sat", where / "cut", stop_on=(0, 1))
    out["cut"] = _run("sat", where / "cut")
    try:
        _run("sat", where / "failed", stop_on=(1,))
    except (ScheduleError, Stop) as why:
        out["failed"] = f"{type(why).__name__}: {why}", is_heard(why)
    return out


def test_ranks_end_with_one_network(tmp_path: Path) -> None:
    """Weights, running statistics and log are equal on both ranks and in the folder; a run that stops in an epoch ends with the
    bits of one that does not; a rank that fails in an epoch is quoted by the other one."""
    pytest.importorskip("kornia")
    first, second = in_two_processes(partial(_rank, str(tmp_path)), tmp_path)
    for name in ("sat", "pair", "cut"):
        np.testing.assert_equal(first[name], second[name])
    np.testing.assert_equal(first["cut"], first["sat"])
    saved = load_network(tmp_path / "sat" / MODEL).weights
    for name, value in first["sat"]["network"].items():
        np.testing.assert_array_equal(saved[name].numpy(), value)
    assert [r["examples"] for r in first["sat"]["log"]] == [N, 12, 12]
    assert [r["ranks"] for r in first["sat"]["log"]] == [2, 2, 2]
    assert [json.loads(line)["epoch"] for line in (tmp_path / "sat" / LOG).read_text().splitlines()] == [0, 1, 2]
    assert second["failed"] == ("Stop: stopped here", False)
    assert first["failed"][0] == "ScheduleError: rank 1 failed while every rank had to train: Stop: stopped here"

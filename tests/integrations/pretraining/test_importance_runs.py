"""Importance selection works from recorded histories in any system, after a kill, and in folders of older versions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import images, tiny

from coreselect import Selection
from coreselect.errors import RequirementError
from coreselect.selectors import RS2, Importance
from coreselect_integrations.pretraining.run import Pretrained, pretrain
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.training.runs import CHECKPOINT

pytest.importorskip("kornia")
N = 48


def run(folder: Path, settings: Settings, **more: Any) -> Pretrained:
    return pretrain(settings, images(N), images(12, seed=8), folder, **{"selector": Importance(), **more})


def state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / CHECKPOINT, weights_only=True)


@pytest.mark.parametrize("system", ["sat", "cl", "acl", "dynacl-air"])
def test_importance_plugs_in(system: str, tmp_path: Path) -> None:
    """After one epoch on the pool, every epoch draws a new weighted quarter, by logits with classes, else by losses."""
    result = run(tmp_path, tiny(system))

    assert [r["examples"] for r in result.records] == [N, N // 4, N // 4]
    assert result.records[2]["seen"] == 1
    chosen = Selection.load(tmp_path / "coreset.npz")
    assert chosen.provenance.round == 1
    assert chosen.weights is not None
    assert chosen.weights.max() <= 2
    by = "‖p − e_y‖₂" if system == "sat" else "loss"
    assert chosen.provenance.notes[0] == f"drawn by the last {by} of each example in training"
    kept = state(tmp_path)["parts"]["history"]
    column = kept["seen" if system == "sat" else "loss_seen"]
    assert int(column.sum()) == N + 2 * (N // 4)
    assert int(column.min()) == 1


class Stop(Exception):
    """The run is stopped."""


@pytest.mark.parametrize("system", ["sat", "acl"])
def test_a_run_that_is_stopped_ends_with_the_same_bits(system: str, tmp_path: Path) -> None:
    """A run stopped in its second epoch of draws and continued has the weights and draws of the whole run."""
    whole = run(tmp_path / "whole", tiny(system))

    def plug(part: str, done: int, total: int) -> None:
        if part == "epoch 3":
            raise Stop

    with pytest.raises(Stop):
        run(tmp_path / "cut", tiny(system), progress=plug)
    again = run(tmp_path / "cut", tiny(system))
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name
    one, two = (Selection.load(tmp_path / where / "coreset.npz") for where in ("whole", "cut"))
    assert one.indices.tolist() == two.indices.tolist()
    assert np.array_equal(one.weights, two.weights)  # type: ignore[arg-type]


def without(folder: Path, system: str) -> None:
    """Change a checkpoint to one of an earlier version."""
    kept = state(folder)
    for name in ("capture", "select_precision"):
        kept["settings"].pop(name, None)
    if system == "acl":
        del kept["parts"]["history"]
    else:
        for name in ("last_el2n", "given_loss", "loss_seen"):
            del kept["parts"]["history"][name]
    torch.save(kept, folder / CHECKPOINT)


@pytest.mark.parametrize("system", ["sat", "acl"])
def test_a_folder_of_an_earlier_version_goes_on(system: str, tmp_path: Path) -> None:
    """Without these columns, or without any history, a run continues and ends with the same bits."""
    whole = run(tmp_path / "whole", tiny(system), selector=RS2())
    run(tmp_path / "cut", tiny(system), selector=RS2(), until=2)
    without(tmp_path / "cut", system)
    again = run(tmp_path / "cut", tiny(system), selector=RS2())
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name


def test_a_folder_of_another_selection_is_refused(tmp_path: Path) -> None:
    """Older bfloat16 runs selected in float32; such a run is not continued in bfloat16, unless it has no selector."""
    for name, selector in (("rs2", RS2()), ("full", None)):
        half = tiny("sat", precision="bf16")
        run(tmp_path / name, half, selector=selector, until=1)
        without(tmp_path / name, "sat")
    run(tmp_path / "full", half, selector=None, until=2)
    with pytest.raises(RequirementError, match="a run with select_precision 'fp32', this one has 'bf16'"):
        run(tmp_path / "rs2", half, selector=RS2(), until=2)


def test_draws_need_what_was_recorded(tmp_path: Path) -> None:
    """A start from a folder without a history, or at epoch 0 without a warm-up, is refused in one sentence."""
    run(tmp_path / "old", tiny("acl"), until=1)
    without(tmp_path / "old", "acl")
    for more, changes in (({"start": tmp_path / "old"}, {}), ({}, {"warmup": 0})):
        with pytest.raises(RequirementError, match="recorded nothing of 48 examples") as caught:
            run(tmp_path / f"new{len(more)}", tiny("acl", **changes), **more)
        assert str(caught.value).count("\n") == 0

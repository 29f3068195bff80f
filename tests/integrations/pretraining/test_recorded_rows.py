"""Selections by RCS from features that training has recorded, in runs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import images, tiny
from torch import nn

from coreselect import Selection
from coreselect.errors import RequirementError
from coreselect.selectors import RCS
from coreselect_integrations.pretraining.run import Pretrained, pretrain
from coreselect_integrations.training.head_inputs import HeadInputs
from coreselect_integrations.training.runs import CHECKPOINT

N = 48


def run(folder: Path, **more: Any) -> Pretrained:
    recorded = RCS(group_size=4, rows="recorded")
    return pretrain(tiny("sat"), images(N), images(12, seed=8), folder, **{"selector": recorded, **more})


class Stop(Exception):
    """The run is stopped."""


def test_a_run_selects_from_what_it_has_recorded_and_resumes(tmp_path: Path) -> None:
    """The selection says so; every example has features; a run that is stopped and continued has the bits of the whole run."""
    whole = run(tmp_path / "whole")
    chosen = Selection.load(tmp_path / "whole" / "coreset.npz")
    assert any("training has recorded" in note for note in chosen.provenance.notes)
    kept = torch.load(tmp_path / "whole" / CHECKPOINT, weights_only=True)["parts"]["history"]
    assert kept["features"].dtype == torch.float16
    assert bool(kept["features_known"].all())

    def stop(part: str, done: int, total: int) -> None:
        if part == "epoch 3":
            raise Stop

    with pytest.raises(Stop):
        run(tmp_path / "again", progress=stop)
    again = run(tmp_path / "again")
    for (name, a), b in zip(whole.network.state_dict().items(), again.network.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert not any(m._forward_pre_hooks for m in again.network.modules())


def test_losses_of_two_passes_and_of_batches_are_refused(tmp_path: Path) -> None:
    """TRADES reads two passes, ACL compares examples."""
    for system in ("trades", "acl"):
        with pytest.raises(RequirementError, match=r"one forward pass|no features"):
            pretrain(
                tiny(system), images(N), images(12, seed=8), tmp_path / system,
                selector=RCS(group_size=16, rows="recorded"),
            )  # fmt: skip


def test_the_hook_ends_with_the_block() -> None:
    """Also after an error; the last call counts."""
    head = nn.Linear(3, 2)
    with HeadInputs(head) as read:
        head(torch.zeros(1, 3))
        head(torch.ones(1, 3))
        assert read.last is not None
        assert read.last.tolist() == [[1, 1, 1]]
    with pytest.raises(Stop), HeadInputs(head):
        raise Stop
    assert not head._forward_pre_hooks

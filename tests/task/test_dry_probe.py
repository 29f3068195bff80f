"""What a selection would refuse after the warm-up is refused when the task, the sampler or the command is made."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Subset
from typer.testing import CliRunner

from coreselect import CoresetSampler, Task
from coreselect.cli import select_run
from coreselect.cli.app import build
from coreselect.errors import HeadError, OverlapError, ScheduleError, ShapeError
from coreselect.selectors import RCS, Random


class Labelled(torch.utils.data.Dataset[Any]):
    """Items with labels that are listed too."""

    def __init__(self, labels: list[int]) -> None:
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        return torch.rand(3, generator=torch.Generator().manual_seed(i)), self.labels[i]


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


GOOD = Labelled([0, 1] * 10)


def test_a_head_that_is_not_there_is_refused_when_the_task_is_made() -> None:
    """The children of the model are named."""
    with pytest.raises(HeadError, match="no submodule 'classifier'"):
        Task.from_model(model(), GOOD, loss="ce", head="classifier")


def test_an_overlap_known_by_index_is_refused_when_the_task_is_made() -> None:
    """Parts of one dataset that share positions."""
    with pytest.raises(OverlapError, match="2 validation examples are also in the pool"):
        Task.from_model(model(), Subset(GOOD, range(12)), Subset(GOOD, range(10, 20)), loss="ce")


@pytest.mark.parametrize("changes", [{"head": "0"}, {"capture": ["nothing.*"]}])
def test_a_head_that_is_none_is_refused_when_the_sampler_is_made(changes: dict[str, Any]) -> None:
    """And not after the warm-up; the model is as before. A method that reads no model does not ask."""
    net = model().train()
    task = Task.from_model(net, Subset(GOOD, range(12)), Subset(GOOD, range(12, 20)), loss="ce", **changes)
    with pytest.raises(HeadError):
        CoresetSampler(task, RCS(group_size=2), 4, warmup=100)
    assert net.training
    assert all(p.requires_grad for p in net.parameters())
    assert not any(m._forward_hooks for m in net.modules())
    CoresetSampler(task, Random(), 4, warmup=100)


def test_labels_without_an_output_are_refused_when_the_sampler_is_made() -> None:
    """With the first position; the last item was never read."""
    pool = Labelled([0, 1] * 8 + [0, 2, 0, 1])
    task = Task.from_model(model(), pool, Labelled([0, 1]), loss="ce")
    with pytest.raises(ShapeError, match=r"1 pool labels lie outside 0…1, the model's outputs \(positions 17\)"):
        CoresetSampler(task, RCS(group_size=2), 4, warmup=100)


def test_a_model_that_cannot_run_yet_is_left_to_the_selection() -> None:
    """A sampler may be made before the model is whole."""
    net = nn.Sequential(nn.Linear(5, 2))
    task = Task.from_model(net, GOOD, Labelled([0, 1]), loss="ce")
    CoresetSampler(task, RCS(group_size=2), 4, warmup=100)


def test_a_negative_seed_is_refused_when_the_sampler_is_made() -> None:
    """A whole number from 0 on is needed."""
    task = Task.from_model(model(), GOOD, Labelled([0, 1]), loss="ce")
    with pytest.raises(ScheduleError, match="seed must be a whole number"):
        CoresetSampler(task, Random(), 4, seed=-1)


def test_select_refuses_a_wrong_head_before_the_warm_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No epoch of it is trained."""
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    real, epochs = select_run.warmed, []

    def warmed(*args: Any, **settings: Any) -> Any:
        epochs.append(settings["epochs"])
        return real(*args, **settings)

    monkeypatch.setattr(select_run, "warmed", warmed)
    words = [
        "select",
        "--rows",
        "60",
        "--validation",
        "10",
        "--count",
        "5",
        "--head",
        "what",
        "--out",
        str(tmp_path / "c.npz"),
    ]
    got = CliRunner().invoke(build(), words)
    assert isinstance(got.exception, HeadError), got.output
    assert epochs == [0]

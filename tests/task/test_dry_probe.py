"""What a selection would refuse after the warm-up is refused when the task, the sampler or the command is made."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from contract import random_states
from torch import nn
from torch.utils.data import Subset, TensorDataset
from typer.testing import CliRunner

from coreselect import CoresetSampler, Task, holdout
from coreselect.cli import select_run
from coreselect.cli.app import build
from coreselect.errors import (
    CoreselectError,
    DataError,
    HeadError,
    OverlapError,
    RequirementError,
    ScheduleError,
    ShapeError,
)
from coreselect.selectors import RCS, KCenter, Random


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


class Tied(nn.Module):
    """Two layers of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 3)
        self.last.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.first(x))


UNSPLIT: dict[str, tuple[Any, str]] = {
    "probabilities": (lambda: nn.Sequential(nn.Linear(3, 2), nn.Softmax(1)), "produces the model's output"),
    "half precision": (lambda: model().bfloat16(), "computes in torch.bfloat16"),
    "shared weights": (Tied, "are used outside it too"),
    "batches": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2)),
        "changes by up to",
    ),
}


@pytest.mark.parametrize("kind", UNSPLIT)
def test_a_model_that_cannot_be_split_is_refused_when_the_sampler_is_made(kind: str) -> None:
    """Although no head was named: a selection would refuse it after the warm-up."""
    make, said = UNSPLIT[kind]
    task = Task.from_model(make(), GOOD, Labelled([0, 1]), loss="ce")
    with pytest.raises(HeadError, match=said):
        CoresetSampler(task, RCS(group_size=2), 4, warmup=100)
    CoresetSampler(task, Random(), 4, warmup=100)


def test_a_loss_that_gives_one_number_is_refused_when_the_sampler_is_made() -> None:
    """Weights would be lost in it; a method that reads no loss does not ask."""

    def mean(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(outputs, labels)

    task = Task.from_model(model(), GOOD, Labelled([0, 1]), loss=mean)
    with pytest.raises(ShapeError, match="'mean' gives one number for a batch of 4"):
        CoresetSampler(task, RCS(group_size=2), 4, warmup=100)
    CoresetSampler(task, KCenter(), 4, warmup=100)


def test_a_model_without_values_is_refused_when_the_sampler_is_made() -> None:
    """Parameters on the device meta are named, and what fills them."""
    task = Task.from_model(model().to("meta"), GOOD, Labelled([0, 1]), loss="ce")
    with pytest.raises(RequirementError, match=r"0\.weight.*on the device meta.*to_empty"):
        CoresetSampler(task, RCS(group_size=2), 4, warmup=100)


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


def test_labels_of_a_tensor_dataset_are_looked_at() -> None:
    """They are listed too, where the loss reads them: a method that needs features alone does not ask."""
    for labels in (torch.arange(20) % 9, torch.arange(20) % 2 - 1):
        pool, held = holdout(TensorDataset(torch.rand(20, 3), labels), 4)
        task = Task.from_model(model(), pool, held, loss="ce")
        with pytest.raises(ShapeError, match="pool labels lie outside 0…1, the model's outputs"):
            CoresetSampler(task, RCS(group_size=2), 4, warmup=100)
        CoresetSampler(task, KCenter(), 4, warmup=100)


TARGETS = {
    "none": (),
    "fractions": (torch.linspace(0.1, 0.9, 20),),
    "one-hot": (torch.eye(2).repeat(10, 1),),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_targets_that_the_loss_cannot_read_are_refused_when_the_sampler_is_made(kind: str) -> None:
    """Where the method needs the loss of the pool; one that needs features alone does not ask."""
    pool, held = holdout(TensorDataset(torch.rand(20, 3), *TARGETS[kind]), 4)
    task = Task.from_model(model(), pool, held, loss="ce")
    with pytest.raises((RequirementError, DataError), match=r"labels|class numbers"):
        CoresetSampler(task, RCS(group_size=2), 4, warmup=100)
    CoresetSampler(task, KCenter(), 4, warmup=100)


class Ending(nn.Module):
    """A network whose output is changed at the end."""

    def __init__(self, end: Any) -> None:
        super().__init__()
        self.linear, self.end = nn.Linear(3, 2), end

    def forward(self, x: torch.Tensor) -> Any:
        return self.end(self.linear(x))


OUTPUTS = {
    "a dictionary": lambda out: {"logits": out},
    "a vector": lambda out: out[:, 0],
    "class numbers": lambda out: out.argmax(1, keepdim=True),
}


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("method", [RCS(group_size=2), KCenter()], ids=["rcs", "k_center"])
def test_an_output_that_is_no_matrix_is_refused_when_the_sampler_is_made(kind: str, method: Any) -> None:
    """Logits [B, C] are needed by every method that reads the model."""
    task = Task.from_model(Ending(OUTPUTS[kind]), GOOD, Labelled([0, 1]), loss="ce")
    with pytest.raises(HeadError, match="the model's output"):
        CoresetSampler(task, method, 4, warmup=100)
    CoresetSampler(task, Random(), 4, warmup=100)


def test_validation_inputs_on_which_the_model_fails_are_refused_when_the_sampler_is_made() -> None:
    """Both shapes are named; a method that reads no validation does not ask."""
    task = Task.from_model(model(), GOOD, TensorDataset(torch.rand(4, 5), torch.arange(4) % 2), loss="ce")
    with pytest.raises(ShapeError, match=r"fails on validation inputs \[N, 5\].*runs on pool inputs \[N, 3\]"):
        CoresetSampler(task, RCS(group_size=2), 4, warmup=100)
    CoresetSampler(task, KCenter(), 4, warmup=100)


def test_the_look_leaves_everything_as_it_was() -> None:
    """Random states, the training mode, running statistics and lazy modules are those of before."""
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 2)).train()
    task = Task.from_model(net, GOOD, Labelled([0, 1]), loss="ce")
    before, states = {n: t.clone() for n, t in net.state_dict().items()}, random_states()
    CoresetSampler(task, RCS(group_size=2), 4, warmup=100)
    assert all(torch.equal(t, before[n]) for n, t in net.state_dict().items())
    assert str(random_states()) == str(states)
    assert net.training
    lazy = nn.LazyLinear(2)
    CoresetSampler(Task.from_model(lazy, GOOD, Labelled([0, 1]), loss="ce"), RCS(group_size=2), 4, warmup=100)
    assert isinstance(lazy.weight, nn.parameter.UninitializedParameter)


SETTINGS = [
    *({"attack": value} for value in (5, "pgd")),
    {"views": 5},
    {"call": 5},
    {"unpack": "xy"},
    *({"batch_size": value} for value in (2.5, True, 0, "8")),
    *({"num_workers": value} for value in (1.5, True, -1)),
    {"device": "cuda:99"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_settings_that_cannot_work_are_refused_when_the_task_is_made(settings: dict[str, Any]) -> None:
    """What is called must be callable, numbers whole, and the device one of this machine; the sentence says what was got."""
    (value,) = settings.values()
    with pytest.raises(CoreselectError, match=re.escape(str(value))):
        Task.from_model(model(), GOOD, Labelled([0, 1]), loss="ce", **settings)


def test_integers_of_numpy_are_batch_sizes() -> None:
    """They become ints."""
    task = Task.from_model(model(), GOOD, loss="ce", batch_size=np.int64(8), num_workers=np.int32(0))  # type: ignore[arg-type]
    assert (type(task.batch_size), task.num_workers) == (int, 0)


@pytest.mark.parametrize("method", [KCenter, RCS, "rcs", 5, None])
def test_what_is_no_selector_is_refused_when_the_sampler_is_made(method: Any) -> None:
    """The class of a selector is not one yet, and neither is its name."""
    task = Task.from_model(model(), GOOD, Labelled([0, 1]), loss="ce")
    with pytest.raises(RequirementError, match=r"class, and an object is needed|is no selector"):
        CoresetSampler(task, method, 4, warmup=100)


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

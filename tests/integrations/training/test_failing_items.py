"""An item that cannot be read, or never comes back, ends a training or an evaluation with one sentence that names its position."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import images, tiny
from torch.utils.data import Dataset

from coreselect.errors import DataError
from coreselect_integrations.evaluation import evaluate
from coreselect_integrations.finetuning.pseudo_labels import features_of
from coreselect_integrations.networks import NetworkSpec, make
from coreselect_integrations.pretraining.run import pretrain
from coreselect_integrations.training.epoch_log import EpochLog
from coreselect_integrations.training.epochs import run_epochs

pytest.importorskip("kornia")
N, BAD = 40, 23


class Faulty(Dataset[Any]):
    """Images of which one does something else."""

    def __init__(self, fault: Callable[[], Any]) -> None:
        self.images, self.fault = images(N), fault
        self.labels = [int(self.images[i][1]) for i in range(N)]

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Any:
        return self.fault() if index == BAD else self.images[index]


def broken() -> Any:
    raise OSError("image file is truncated")


def stuck() -> Any:
    time.sleep(60)


def odd() -> Any:
    return torch.zeros(3, 5, 5), BAD % 2


def walk(data: Dataset[Any], folder: Path, **reading: Any) -> None:
    """An epoch of a fine-tuning."""

    def epoch(number: int, batches: Any) -> EpochLog:
        for _ in batches:
            pass
        raise AssertionError("the faulty item was not read")

    run_epochs(epoch, data, "probe", seed=0, epochs=1, batch_size=8, **reading)


def train(data: Dataset[Any], folder: Path, **reading: Any) -> None:
    pretrain(tiny("sat"), data, images(10, seed=8), folder, selector=None, **reading)


def judge(data: Dataset[Any], folder: Path) -> None:
    evaluate(make(NetworkSpec("small", 3, 8, classes=2), 0).eval(), data, batch_size=8)


def read_features(data: Dataset[Any], folder: Path, **reading: Any) -> None:
    spec = NetworkSpec("small", 3, 8, classes=2)
    features_of(make(spec, 0).state_dict(), spec, data, route="natural", batch_size=8, **reading)


@pytest.mark.parametrize("work", [walk, train, judge, read_features])
@pytest.mark.parametrize(("fault", "told"), [(broken, "OSError: image file is truncated"), (odd, "shape")])
def test_the_position_is_named(work: Any, fault: Any, told: str, tmp_path: Path) -> None:
    """For an item that raises and for one of another shape, whoever reads it."""
    with pytest.raises(DataError, match=rf"item {BAD}\b.*{told}"):
        work(Faulty(fault), tmp_path / "run")


@pytest.mark.parametrize("work", [walk, pytest.param(train, marks=pytest.mark.slow)])
def test_an_item_that_does_not_come_back_is_named(work: Any, tmp_path: Path) -> None:
    """With a timeout, a training ends in a sentence, not in an error of the loader."""
    with pytest.raises(DataError, match=rf"item.*\b{BAD}\b.*within the timeout of 2 seconds"):
        work(Faulty(stuck), tmp_path / "run", num_workers=1, timeout=2)

"""The three usages on real CIFAR-10 images, from the array folder that the variable CORESELECT_DATA names."""

import os
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from coreselect import Selection, Task, certify, holdout, select
from coreselect.attacks import PGD
from coreselect.data import load
from coreselect.gradients.factored import FactoredRows
from coreselect.objectives import RD
from coreselect.selectors import RCS
from coreselect.support.seeding import generator
from coreselect.task.groups import deal
from coreselect_integrations.networks import build, route_call
from coreselect_integrations.systems import acl, sat
from coreselect_integrations.systems.views import two_views

WHERE = os.environ.get("CORESELECT_DATA")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(WHERE is None, reason="CORESELECT_DATA names no array folder of CIFAR-10"),
]
ATTACK, FIVE = PGD(8 / 255, 10 / 255, 1), PGD(8 / 255, 2 / 255, 5)


@pytest.fixture(scope="module")
def parts() -> Any:
    """Return 1,000 images to choose from, and 100 for validation."""
    assert WHERE is not None
    return holdout(load(WHERE, "train", 1100), 100)


def values(task: Task, sets: list[list[int]], size: int, eta: float) -> list[float]:
    """Return RD, attacked inputs held, after the step of each set of groups that `RCS(stratify=None)` would make."""
    with task.snapshot(0, 0) as snapshot:
        rows, _ = snapshot.rows(deal(snapshot.n, size, generator(0, "groups", 0)))
        held = snapshot.objective(RD())
        return [held.value(snapshot.theta() - eta * sum(rows.full(m) for m in order)) for order in sets]


def test_supervised(parts: Any) -> None:
    """On a ResNet-18 adversarially trained for one epoch, RCS's step lowers RD below that of random groups."""
    pool, validation = parts
    model = build("resnet18", "sat", channels=3, size=32, classes=10)
    sat.warm_up(model, pool, epochs=1, attack=ATTACK, batch_size=64, lr=0.02)
    task = Task.from_model(model, pool, validation, attack=ATTACK, batch_size=64)
    chosen = select(task, RCS(stratify=None, group_size=20, eta=0.001), 0.2)
    assert len(np.unique(chosen.indices)) == 200
    order = list(dict.fromkeys(chosen.groups.tolist()))
    draws = np.random.default_rng(0)
    mine, *random = values(task, [order, *(draws.permutation(50)[:10].tolist() for _ in range(20))], 20, 0.001)
    assert mine < min(random)
    assert chosen.certificate == certify(chosen, task)


def test_contrastive(parts: Any, tmp_path: Any) -> None:
    """A dual-route encoder with a three-layer head, two views, a 5-step joint attack and no labels works from model to file."""
    pool, validation = parts
    model = build("small", "acl", channels=3, size=32)
    acl.warm_up(model, pool, epochs=1, attack=ATTACK, batch_size=64, lr=0.02)
    task = Task.from_model(
        model, pool, validation, loss="acl", attack=FIVE, call=route_call, views=partial(two_views), batch_size=64
    )
    chosen = select(task, RCS(), 0.1)
    assert len(np.unique(chosen.indices)) == 100
    assert chosen.diagnostics is not None
    assert chosen.diagnostics.rd_clean, "two routes leave a gap at x̃ = x"
    assert chosen.diagnostics.predicted_true_correlation is not None
    assert chosen.diagnostics.predicted_true_correlation > 0.9
    chosen.save(tmp_path / "c.npz")
    assert Selection.load(tmp_path / "c.npz").indices.tolist() == chosen.indices.tolist()


def test_arrays(parts: Any) -> None:
    """Gradients and a validation gradient that come from a model choose the groups that the model would pick first."""
    pool, validation = parts
    model = build("small", "sat", channels=3, size=32, classes=10)
    sat.warm_up(model, pool, epochs=1, attack=ATTACK, lr=0.02)
    task = Task.from_model(model, pool, validation, attack=ATTACK, batch_size=64)
    with task.snapshot(0, 0) as snapshot:
        rows, _ = snapshot.rows([np.array([i]) for i in range(1000)])
        assert isinstance(rows, FactoredRows)
        gradients = rows.dense(torch.arange(1000)).numpy()
        query = snapshot.objective(RD()).query(snapshot.theta()).numpy()
    arrays = Task.from_arrays(gradients=gradients, validation_gradient=query)
    mine = select(arrays, RCS(group_size=20, refresh=1), 20)
    theirs = select(task, RCS(group_size=20, stratify=None), 20)
    assert mine.indices.tolist() == theirs.indices.tolist()

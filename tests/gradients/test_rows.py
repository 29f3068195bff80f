"""Claims about rows: however they are computed, they equal a plain autograd loop to 1e-10 in float64."""

from typing import Any

import cases
import numpy as np
import oracles
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from loop_rows import TOL, acl_rows, attacked, full, opened, sat_rows
from torch import Tensor, nn

from coreselect.attacks import PGD
from coreselect.errors import NonFiniteError, RequirementError
from coreselect.task.groups import deal

MODELS: dict[str, Any] = {
    "linear head": (cases.ConvNet, {}),
    "deep head": (cases.DeepHead, {"head": "head"}),
    "deep head, in-place activation": (
        lambda: cases.DeepHead(activation=nn.ReLU(inplace=True)),
        {"head": "head"},
    ),
    "one bias": (cases.ConvNet, {"capture": ["fc.bias"]}),
    "one weight": (cases.DeepHead, {"head": "head", "capture": ["head.3.weight"]}),
    "head with its BN": (cases.DeepHead, {"head": "head", "capture": ["head.*"]}),
    "convolution": (cases.ConvNet, {"capture": ["conv.*"]}),
    "whole model": (cases.ConvNet, {"capture": "all"}),
}


@pytest.mark.parametrize("which", MODELS)
@pytest.mark.parametrize("grouping", ["examples", "uneven", "one", "pairs"])
def test_rows_of_sat_equal_an_autograd_loop(which: str, grouping: str) -> None:
    """For any capture and any grouping of the pool, rows equal the loop on attacked inputs to 1e-10."""
    factory, settings = MODELS[which]
    task = cases.sat_task(11, model=cases.built(factory), batch_size=4, **settings)
    groups = {
        "examples": [[i] for i in range(11)],
        "uneven": [[3, 1, 10, 0], [2, 9, 4, 8], [5, 6, 7]],
        "one": [list(range(11))],
        "pairs": [[0, 1], [10, 9], [4, 2]],
    }[grouping]
    rows, losses, names = opened(task, groups)
    assert torch.allclose(full(rows), sat_rows(task, names, groups), **TOL)
    assert losses is not None
    assert len(losses) == len(groups)


@given(st.integers(1, 9), st.integers(2, 6), st.integers(1, 5), st.integers(0, 20), st.integers(1, 7))
def test_rows_equal_an_autograd_loop_at_any_shape(n: int, classes: int, width: int, seed: int, batch: int) -> None:
    """Rows equal the loop for random sizes of pool, classes, width and batch, also for groups of one and an uneven last group."""
    model = cases.built(lambda: cases.ConvNet(classes, width), seed=seed)
    pool = cases.Items(cases.images(n, seed=seed), cases.classes(n, seed=seed, count=classes))
    task = cases.sat_task(model=model, pool=pool, batch_size=batch, attack=PGD(0.1, 0.05, 1))
    groups = deal(n, min(n, 1 + seed % 4), torch.Generator().manual_seed(seed))
    rows, _, names = opened(task, groups)
    assert torch.allclose(full(rows), sat_rows(task, names, groups), **TOL)


@pytest.mark.parametrize("settings", [{}, {"capture": "all"}, {"capture": ["conv.weight", "head.third.*"]}])
def test_rows_of_acl_equal_an_autograd_loop(settings: Any) -> None:
    """Rows of the contrastive loss, with two views, a joint attack and two routes, equal the loop to 1e-10."""
    task = cases.acl_task(11, batch_size=5, **settings)
    groups = [[3, 1, 10, 0], [2, 9, 4, 8], [5, 6, 7]]
    rows, _, names = opened(task, groups)
    assert torch.allclose(full(rows), acl_rows(task, names, groups), **TOL)


def test_a_kept_part_of_a_group_has_its_own_row() -> None:
    """full(m, kept) is the row of only the kept members; for ACL their views are attacked as a batch of their own."""
    sat, acl = cases.sat_task(11), cases.acl_task(11)
    groups = [[3, 1, 10, 0, 7], [2, 9, 4, 8]]
    parts = [[3], [3, 1], [3, 1, 10, 0]]
    for task, oracle in ((sat, sat_rows), (acl, acl_rows)):
        with task.snapshot(0, 0) as shot:
            rows, _ = shot.rows([np.asarray(g) for g in groups])
            got = [rows.full(0, np.asarray(kept)) for kept in parts]
            names = shot.layout().names
        assert torch.allclose(torch.stack(got), oracle(task, names, parts), **TOL)


def test_losses_are_the_groups_mean_losses() -> None:
    """The losses returned with the rows are the training loss on attacked inputs, averaged over each group."""
    task = cases.sat_task(9)
    groups = [[0, 4, 5], [8, 2]]
    _, losses, _ = opened(task, groups)
    seen = attacked(task)
    for got, members in zip(losses, groups, strict=True):
        each = [oracles.cross_entropy(task.model(seen[i][None]), torch.tensor([task.pool[i][1]])) for i in members]
        assert float(got) == pytest.approx(float(torch.cat(each).mean()), abs=1e-12)


def test_single_examples_of_a_batch_loss_are_refused() -> None:
    """NT-Xent has no row of a single example; the request is refused in one sentence."""
    with pytest.raises(RequirementError, match="single examples"):
        opened(cases.acl_task(6), [[i] for i in range(6)])


def test_a_gradient_that_is_not_finite_names_its_example() -> None:
    """Finite inputs and features whose loss gradient overflows are refused, and the message names the pool position."""

    class Steep(nn.Module):
        """A model whose loss gradient overflows only for bright images."""

        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(36, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.flatten(1))

    x = cases.images(8)
    x[5] = 1e200
    task = cases.sat_task(
        pool=cases.Items(x, cases.classes(8, count=3)), model=cases.built(Steep), attack=PGD(0.1, 0.05, 1, bounds=None)
    )
    with pytest.raises(NonFiniteError) as why:
        opened(task, [[i] for i in range(8)])
    assert why.value.indices == (5,)

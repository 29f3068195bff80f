"""Training on the validation set, and mixing it into the draws: which examples an epoch has, and how often."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import images, tiny
from torch.utils.data import TensorDataset

from coreselect import CoresetSampler, Task
from coreselect.data.conditions import Conditions
from coreselect.errors import DataError, RequirementError
from coreselect.selectors import RCS, RS2, PerClass
from coreselect_integrations.pretraining.division import Division
from coreselect_integrations.pretraining.run import pretrain
from coreselect_integrations.pretraining.trusted_draws import JoinedPool, TrustedDraws

POOL, U = images(80), images(12, seed=3)
FRACTION = 0.25  # k = 20


def epochs_of(selector: TrustedDraws, count: int) -> list[np.ndarray]:
    """Return the positions of some epochs in pool and trusted set as one."""
    own, joined, k = selector.joined(POOL, U, FRACTION)
    task = Task.from_arrays(torch.rand(len(joined), 3), labels=joined.targets)
    sampler = CoresetSampler(task, own, k, warmup=0)
    out = []
    for epoch in range(count):
        sampler.set_epoch(epoch)
        out.append(np.array(list(sampler)))
    return out


def test_validation_only_draws_the_budget_of_the_pool_from_the_trusted_set() -> None:
    """20 draws an epoch, all from the 12 trusted images, each used equally often once six epochs have passed (24·5 = 120 draws)."""
    found = epochs_of(TrustedDraws(None), 6)
    assert all(len(e) == 20 and (e >= 80).all() for e in found)
    times = np.bincount((np.concatenate(found) - 80) % 12, minlength=12)
    assert times.tolist() == [10] * 12


def test_mixed_draws_are_half_of_the_pool_and_half_trusted() -> None:
    """The draws from the pool do not repeat before it is used up: 8 epochs of 10 are its 80 images."""
    found = epochs_of(TrustedDraws(RS2()), 8)
    assert all((e >= 80).sum() == 10 for e in found)
    assert sorted(np.concatenate([e[e < 80] for e in found]).tolist()) == list(range(80))


def test_items_behind_the_pool_are_those_of_the_trusted_set_over_and_over() -> None:
    """Position N + j is trusted image j mod |U|."""
    joined = JoinedPool(POOL, U, repeats=2)
    assert len(joined) == 104
    for i in (0, 79, 80, 91, 92, 103):
        x, y = POOL[i] if i < 80 else U[(i - 80) % 12]
        assert torch.equal(joined[i][0], x)
        assert joined[i][1] == int(y) == joined.targets[i]


def test_a_trusted_set_without_labels_and_a_guided_method_are_refused() -> None:
    """One cannot be trained on; the other would be guided by a part of its own pool."""
    with pytest.raises(DataError, match="needs its labels"):
        JoinedPool(POOL, TensorDataset(torch.rand(5, 3, 8, 8)))
    with pytest.raises(DataError, match="no validation image"):
        JoinedPool(POOL, ())
    for guided in (RCS(), PerClass(RCS())):
        with pytest.raises(RequirementError, match="guided by the validation set"):
            TrustedDraws(guided)


def test_trusted_picks_count_as_being_in_order(tmp_path: Path) -> None:
    """With every label of the pool wrong but one in a hundred, half of the picks of a mixed run are wrong, and it has k picks."""
    pool, held = Division(Conditions.parse("labels-wrong=0.99")).split(images(120), 20, 0)
    run = pretrain(tiny("standard"), pool, held, tmp_path, selector=TrustedDraws(RS2()))
    assert [r["examples"] for r in run.records[1:]] == [25, 25]
    assert all(abs(r["picks"]["wrong"] - 0.5) < 0.06 for r in run.records[1:])

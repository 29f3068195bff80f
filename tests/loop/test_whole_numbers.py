"""Integers of numpy and torch are integers wherever a count, an epoch or a seed is asked for; fractions are refused."""

from typing import Any

import cases
import numpy as np
import pytest
import torch

from coreselect import CoresetSampler, get_selector, select
from coreselect.errors import CoreselectError, RequirementError, ScheduleError
from coreselect.loop.infobatch import InfoBatchSampler

RANDOM = get_selector("random")
INTEGERS = [int, np.int64, np.int32, np.uint8, torch.tensor]


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_of_every_kind_give_the_same_run(kind: Any) -> None:
    """Schedules, epochs, seeds, rounds and budgets; and the state is plain, so it loads with weights_only."""
    task = cases.array_task(24)
    one = CoresetSampler(task, RANDOM, 6, warmup=1, every=2, seed=3)
    other = CoresetSampler(
        task, RANDOM, 6, warmup=kind(1), every=kind(2), seed=kind(3), rank=kind(0), world_size=kind(1)
    )
    for epoch in range(4):
        one.set_epoch(epoch)
        other.set_epoch(kind(epoch))
        assert list(one) == list(other)
    assert type(other.state_dict()["epoch"]) is int
    assert type(other.state_dict()["seed"]) is int
    assert other.lengths(kind(3)) == one.lengths(3)
    got, want = (select(task, RANDOM, 6, s, round=r) for s, r in ((kind(3), kind(2)), (3, 2)))
    assert got.indices.tolist() == want.indices.tolist()
    assert type(got.provenance.seed) is int


NOT_WHOLE = [1.0, 1.5, float("nan"), "1", True, None, np.float64(2), torch.tensor(1.5), torch.tensor([1, 2])]


@pytest.mark.parametrize("value", NOT_WHOLE, ids=repr)
def test_what_is_no_whole_number_is_refused(value: Any) -> None:
    """One sentence says what was got."""
    task = cases.array_task(24)
    for settings in ({"warmup": value}, {"every": value}, {"seed": value}):
        with pytest.raises(ScheduleError, match="must be a whole number"):
            CoresetSampler(task, RANDOM, 6, **settings)  # type: ignore[arg-type]
    with pytest.raises(ScheduleError, match="must be a whole number"):
        CoresetSampler(task, RANDOM, 6).set_epoch(value)
    with pytest.raises(ScheduleError, match="must be a whole number"):
        InfoBatchSampler(9, value)
    with pytest.raises(RequirementError, match="must be a whole number"):
        select(task, RANDOM, 6, value)


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64, 10**30])
def test_seeds_that_torch_cannot_take_are_refused(seed: int) -> None:
    """2⁶³ − 1 is the largest seed."""
    task = cases.array_task(24)
    with pytest.raises(CoreselectError, match=r"seed must be a whole number, in 0…9223372036854775807"):
        select(task, RANDOM, 6, seed)
    with pytest.raises(CoreselectError, match="seed must be"):
        CoresetSampler(task, RANDOM, 6, seed=seed)
    assert len(select(task, RANDOM, 6, 2**63 - 1)) == 6

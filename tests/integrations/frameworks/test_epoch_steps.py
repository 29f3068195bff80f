"""Claims about the steps of runs whose epochs differ in length: they are what a loop over the loader counts."""

import math

import framework_runs as runs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from coreselect import CoresetSampler, Task
from coreselect.errors import ScheduleError
from coreselect.selectors import Random
from coreselect_integrations.frameworks.epoch_steps import EpochSteps

TASK = Task.from_model(runs.network(), runs.data(30), loss="ce")


@given(st.integers(1, 30), st.integers(0, 3), st.integers(1, 9), st.integers(1, 4), st.booleans())
def test_steps_are_those_that_a_loop_counts(budget: int, warmup: int, size: int, accumulate: int, drop: bool) -> None:
    """Batches and steps of each epoch, and the first epoch in which a number of steps is reached, by counting."""
    order = CoresetSampler(TASK, Random(), budget, warmup=warmup, every=1)
    counted = EpochSteps(order, size, accumulate, drop)
    batches: list[int] = []
    for epoch in range(4):
        order.set_epoch(epoch)
        batches.append(sum(1 for _ in DataLoader(range(30), size, sampler=order, drop_last=drop)))  # type: ignore[arg-type]
    steps = [math.ceil(b / accumulate) for b in batches]
    assert counted.batches(4) == batches
    assert counted.steps(4) == steps
    assert counted.total(4) == sum(steps)
    assert counted.total(3.5) == sum(steps[:3]) + math.ceil(steps[3] / 2)
    reached = [sum(steps[: e + 1]) for e in range(4)]
    for asked in range(1, reached[-1] + 1):
        assert counted.epochs_for(asked) == next(e for e, most in enumerate(reached) if most >= asked) + 1
    assert EpochSteps(order, size, drop_last=drop, limit=2).batches(4) == [min(b, 2) for b in batches]


def test_epochs_without_steps_end_nowhere() -> None:
    """A budget below the batch size with `drop_last` has no steps after the warm-up: one sentence in place of an endless search."""
    order = CoresetSampler(TASK, Random(), 4, warmup=1, every=1)
    with pytest.raises(ScheduleError, match="fewer than 8 examples"):
        EpochSteps(order, 8, drop_last=True).epochs_for(10)

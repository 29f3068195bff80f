"""How long every epoch will be is known ahead."""

from typing import Any

import cases
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samplers import sampler
from torch.utils.data import DataLoader

from coreselect import InfoBatchSampler
from coreselect.errors import ScheduleError


@settings(max_examples=60)
@given(
    warmup=st.integers(0, 5),
    every=st.integers(1, 4),
    renew=st.sampled_from(["never", "round", "epoch"]),
    n=st.integers(1, 23),
    world=st.integers(1, 4),
    batch_size=st.integers(1, 7),
    drop_last=st.booleans(),
    data=st.data(),
)
def test_lengths_and_steps_are_those_of_the_run(
    warmup: int, every: int, renew: str, n: int, world: int, batch_size: int, drop_last: bool, data: Any
) -> None:
    """For any schedule, budget, rank and batch size: what was said ahead is what a loader then yields, epoch by epoch."""
    k, rank = data.draw(st.integers(1, n)), data.draw(st.integers(0, world - 1))
    schedule = {"warmup": warmup, "every": every, "rank": rank, "world_size": world}
    s, selector = sampler(renew, n=n, budget=k, **schedule)
    lengths, steps = s.lengths(9), s.total_steps(9, batch_size, drop_last)
    assert selector.calls == []
    loader: Any = DataLoader(cases.Items(cases.images(n)), batch_size, sampler=s, drop_last=drop_last)
    seen, batches = [], 0
    for epoch in range(9):
        s.set_epoch(epoch)
        seen.append(len(list(s)))
        batches += len(list(loader))
    assert (lengths, steps) == (seen, batches)


@settings(max_examples=40)
@given(st.integers(1, 23), st.integers(1, 4), st.floats(0, 1), st.integers(1, 6))
def test_those_of_infobatch_are_exact_where_nothing_drops_and_bounds_elsewhere(
    n: int, world: int, delta: float, batch_size: int
) -> None:
    """Of an epoch that drops nothing the length is exact; no epoch is longer than was said."""
    s = InfoBatchSampler(n, 8, r=0.9, delta=delta, rank=world - 1, world_size=world)
    said, steps = s.lengths(8), s.total_steps(8, batch_size)
    taken = 0
    for epoch in range(8):
        s.set_epoch(epoch)
        s.update(torch.arange(n), torch.arange(float(n)) ** 3)
        assert len(s) <= said[epoch]
        assert s.drops(epoch) or len(s) == said[epoch]
        assert s.lengths(8)[epoch] == len(s)  # of the epoch that has begun it is known
        taken += -(-len(s) // batch_size)
    assert taken <= steps


def test_impossible_numbers_are_refused() -> None:
    """Negative epochs and empty batches raise an error; no epochs have no length."""
    s, _ = sampler()
    assert (s.lengths(0), s.total_steps(0, 4)) == ([], 0)
    for call in (lambda: s.lengths(-1), lambda: s.total_steps(-1, 4), lambda: s.total_steps(3, 0)):
        with pytest.raises(ScheduleError, match="got"):
            call()

"""Weights that nobody asks for, and loaders over another dataset than the pool, are noticed."""

import warnings
from typing import Any

import cases
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from samplers import sampler
from torch.utils.data import ConcatDataset, DataLoader, Subset, TensorDataset

from coreselect import CoresetSampler, Indexed, InfoBatchSampler, Task, holdout
from coreselect.errors import CoreselectWarning, ScheduleError
from coreselect.selectors import RCSSampled, get_selector

N = 30


def weighted() -> CoresetSampler:
    return CoresetSampler(cases.array_task(N), RCSSampled(alpha=0.9, temperature=0.3), 10, warmup=1, every=1)


def infobatch() -> InfoBatchSampler:
    s = InfoBatchSampler(N, 10)
    s.update(torch.arange(N), torch.arange(float(N)) ** 2)
    return s


def warned(s: Any, num_workers: int, ask: bool, batch_size: int = 4, epochs: int = 4) -> list[int]:
    """The epochs of a run, without `set_epoch` at its end, in which a warning was given."""
    loader: Any = DataLoader(Indexed(cases.Items(cases.images(N))), batch_size, sampler=s, num_workers=num_workers)
    out = []
    for epoch in range(epochs):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CoreselectWarning)
            s.set_epoch(epoch)
            for _, i in loader:
                if ask:
                    s.weights(i)
        out += [epoch for w in caught if w.category is CoreselectWarning]
    return out


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_weighted_epoch_without_weights_warns_once(num_workers: int) -> None:
    """The first epoch with a weighted selection ends with one warning, with workers too; no later epoch warns again."""
    assert warned(weighted(), num_workers, ask=False, batch_size=1) == [1]
    assert warned(infobatch(), num_workers, ask=False, batch_size=1) == [0]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 4, 30])
def test_no_warning_where_weights_are_asked_for_or_not_needed(num_workers: int, batch_size: int) -> None:
    """Not if the loop asks, even if workers draw the whole epoch ahead; not for methods without weights."""
    for s in (weighted(), infobatch()):
        assert warned(s, num_workers, ask=True, batch_size=batch_size) == []
    plain, _ = sampler(n=N, warmup=1, every=1)
    assert warned(plain, num_workers, ask=False, batch_size=batch_size) == []


def test_an_epoch_that_is_drawn_ahead_warns_when_the_next_begins() -> None:
    """If workers draw the whole epoch before its user sees a batch, the warning comes with the next set_epoch."""
    assert warned(weighted(), 2, ask=False, batch_size=10) == [2]
    s = weighted()
    s.set_epoch(1)
    list(s)  # to look at it is no training yet
    with pytest.warns(CoreselectWarning, match=r"sampler\.weights was never called"):
        s.set_epoch(2)


@given(st.integers(2, 40), st.integers(0, 40), st.booleans(), st.booleans())
def test_a_loader_over_another_dataset_is_refused_where_lengths_show_it(
    n: int, other: int, indexed: bool, batches: bool
) -> None:
    """For any two lengths that differ, in any form of a loader: refused, with both numbers; with equal lengths it is read."""
    data: Any = TensorDataset(torch.zeros(other, 1))
    for s in (sampler(n=n, budget=1, warmup=1)[0], InfoBatchSampler(n, 3)):
        s.set_epoch(0)
        how: dict[str, Any] = {"sampler": s, "batch_size": 3}
        if batches:
            how = {"batch_sampler": torch.utils.data.BatchSampler(s, 3, drop_last=False)}
        loader: Any = DataLoader(Indexed(data) if indexed else data, **how)
        if other == n:
            assert len(list(loader)) == -(-n // 3)
            continue
        with pytest.raises(ScheduleError, match=f"has {other} examples, .* pool of {n}: give the loader the pool"):
            list(loader)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_dataset_that_was_split_is_not_the_pool(num_workers: int) -> None:
    """After `holdout` a loader over the whole dataset would train on validation images: refused; over the pool it is right."""
    full = TensorDataset(torch.rand(60, 4), torch.randint(0, 3, (60,)))
    pool, validation = holdout(full, 6, 0)
    s = CoresetSampler(Task.from_model(torch.nn.Linear(4, 3), pool, loss="ce"), get_selector("rs2"), 9, warmup=0)
    s.set_epoch(0)
    for data in (full, Subset(full, range(50)), ConcatDataset([pool, validation])):
        with pytest.raises(ScheduleError, match="pool of 54"):
            next(iter(DataLoader(data, 4, sampler=s, num_workers=num_workers)))
    assert sum(len(x) for x, _ in DataLoader(pool, 4, sampler=s, num_workers=num_workers)) == 9

"""The epoch that an iterator serves: the one that is due when it is read, or an error; never another."""

import copy
import pickle
from typing import Any

import cases
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samplers import sampler
from torch.utils.data import DataLoader

from coreselect import Indexed, InfoBatchSampler
from coreselect.errors import ScheduleError

N = 20


def infobatch(seed: int = 0, **more: Any) -> InfoBatchSampler:
    """A sampler that has seen every loss before its first epoch."""
    s = InfoBatchSampler(N, 50, seed=seed, **more)
    s.update(torch.arange(N), torch.linspace(0, 1, N) ** 3)
    s.weights(torch.arange(N))  # as a loop does; else a pass would end with a warning
    return s


def coreset(**schedule: Any) -> Any:
    """A sampler that renews its selection in every epoch after two."""
    return sampler("epoch", **{"warmup": 2, "every": 1, **schedule})[0]


def loader_of(s: Any, num_workers: int = 2) -> DataLoader[Any]:
    return DataLoader(Indexed(cases.Items(cases.images(N))), 2, sampler=s, num_workers=num_workers)


def read(batches: Any) -> list[int]:
    return [int(i) for batch in batches for i in batch[-1]]


def due(make: Any, epoch: int) -> list[int]:
    """What a fresh sampler serves in an epoch."""
    s = make()
    s.set_epoch(epoch)
    return list(s)


MAKERS = pytest.mark.parametrize("make", [coreset, infobatch])


@MAKERS
@given(created=st.integers(0, 5), read_in=st.integers(0, 5), before=st.integers(0, 25))
def test_an_iterator_serves_the_epoch_that_is_due_or_refuses(
    make: Any, created: int, read_in: int, before: int
) -> None:
    """For any two epochs and any number of positions read in the first: the due epoch's positions, or ScheduleError."""
    s = make()
    s.set_epoch(created)
    iterator = iter(s)
    first = [i for _, i in zip(range(before), iterator, strict=False)]
    assert first == due(make, created)[:before]
    s.set_epoch(read_in)
    if read_in == created:
        assert first + list(iterator) == due(make, created)
    elif before == 0 and read_in > created:
        assert list(iterator) == due(make, read_in)
    elif before <= len(due(make, created)):
        with pytest.raises(ScheduleError, match=f"went back from {created}" if before == 0 else f"epoch {read_in}"):
            list(iterator)
    else:
        assert list(iterator) == []  # it had ended in its own epoch


@MAKERS
def test_before_set_epoch_it_is_epoch_0_for_one_pass(make: Any) -> None:
    """Iteration before set_epoch serves epoch 0; set_epoch(0) does not disturb it; a second pass names the missing call."""
    s = make()
    iterator = iter(s)
    first = next(iterator)
    s.set_epoch(0)
    assert [first, *iterator] == due(make, 0)
    forgotten = make()
    assert list(forgotten) == due(make, 0)
    with pytest.raises(ScheduleError, match="set_epoch was never called"):
        list(forgotten)
    forgotten.set_epoch(1)
    assert list(forgotten) == due(make, 1)


def test_without_a_warm_up_the_first_pass_selects() -> None:
    """With warmup=0 an iteration before set_epoch selects once, in this process, and so serves epoch 0's subset."""
    s, selector = sampler(warmup=0)
    assert list(iter(s)) == due(lambda: sampler(warmup=0)[0], 0)
    assert selector.calls == [0]


@MAKERS
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_whose_iterator_is_early(make: Any, num_workers: int) -> None:
    """An iterator made in epoch 0 and read in epoch 4: with workers, which have begun, refused; without, epoch 4."""
    s = make()
    s.set_epoch(0)
    early = iter(loader_of(s, num_workers))
    s.set_epoch(4)
    if num_workers:
        with pytest.raises(ScheduleError, match="began in epoch 0 is read on in epoch 4"):
            read(early)
    else:
        assert read(early) == due(make, 4)
    assert read(loader_of(s, num_workers)) == due(make, 4)


@MAKERS
def test_a_loader_whose_iterator_is_earlier_than_any_epoch(make: Any) -> None:
    """With workers an iterator may be made before the first set_epoch(0), as frameworks do: it serves epoch 0."""
    s = make()
    early = iter(loader_of(s))
    s.set_epoch(0)
    assert read(early) == due(make, 0)


@MAKERS
@settings(max_examples=20)
@given(ahead=st.integers(1, 9), back=st.integers(0, 8))
def test_an_epoch_that_goes_back_before_it_is_read_is_refused(make: Any, ahead: int, back: int) -> None:
    """set_epoch(4), set_epoch(0) is what two frameworks do on resume: refused when it is read; 4 told again is epoch 4."""
    s = make()
    s.set_epoch(ahead)
    s.set_epoch(min(back, ahead - 1))
    with pytest.raises(ScheduleError, match=f"went back from {ahead} to"):
        list(s)
    s.set_epoch(ahead)
    assert list(s) == due(make, ahead)
    s.set_epoch(min(back, ahead - 1))  # after epoch `ahead` was read, going back is meant
    assert sorted(s) == sorted(due(make, min(back, ahead - 1)))


def test_a_restored_epoch_is_not_forgotten() -> None:
    """After a state of epoch 4 iteration serves epoch 4; a set_epoch(0) in between is refused; set_epoch(4) selects nothing."""
    first = coreset(warmup=0)
    first.set_epoch(4)
    s, selector = sampler("epoch", warmup=0, every=1)
    s.load_state_dict(first.state_dict())
    assert list(s) == list(first)
    s.load_state_dict(first.state_dict())
    s.set_epoch(0)
    with pytest.raises(ScheduleError, match="went back from 4 to 0"):
        list(s)
    s.set_epoch(4)
    assert list(s) == list(first)
    assert selector.calls == [0]


@MAKERS
def test_copies_and_pickles(make: Any) -> None:
    """A sampler that is being read can be copied and pickled, as loaders are; copies read on their own."""
    s = make()
    s.set_epoch(3)
    iterator = iter(s)
    next(iterator)
    for copied in (copy.deepcopy(s), pickle.loads(pickle.dumps(s))):
        assert list(copied) == list(s)
        copied.set_epoch(4)
    assert len(list(iterator)) == len(s) - 1

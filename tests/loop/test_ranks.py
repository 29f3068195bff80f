"""In a process group every rank trains on the same subset, or every rank gets one sentence."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import cases
import pytest
import torch
from processes import in_processes, in_two_processes
from samplers import sampler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from coreselect import CoresetSampler, InfoBatchSampler, Task
from coreselect.errors import CoreselectError
from coreselect.selectors import get_selector
from coreselect.support import ranks

N = 24


def _sentence(call: Any) -> str:
    """What a call refuses with; "" if it does not."""
    try:
        call()
    except (CoreselectError, cases.Broken) as why:
        return f"{type(why).__name__}: {why}"
    return ""


def _selection_and_share(rank: int) -> tuple[list[int], list[int]]:
    """Select with a model that differs between the ranks; return the selection and this rank's share."""
    task = cases.sat_task(24, model=cases.built(cases.ConvNet, seed=rank))
    sampler = CoresetSampler(task, cases.rcs(), 8, warmup=0, every=1, rank=rank, world_size=2)
    sampler.set_epoch(0)
    assert sampler.selection is not None
    return sampler.selection.indices.tolist(), list(sampler)


def test_ranks_whose_models_differ_train_on_one_subset(tmp_path: Path) -> None:
    """Although the two models would choose differently, both ranks use rank 0's selection, and their shares together are it."""
    (mine, first), (theirs, second) = in_two_processes(_selection_and_share, tmp_path)
    assert mine == theirs
    assert sorted(first + second) == sorted(mine)


def _own_statistics(seed: int, **shares: Any) -> CoresetSampler:
    """A sampler whose model has other running statistics on every rank, as under DDP."""
    g = torch.Generator().manual_seed(0)
    pool = TensorDataset(torch.rand(120, 8, generator=g), torch.randint(0, 3, (120,), generator=g))
    torch.manual_seed(0)
    net = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 3))
    torch.manual_seed(seed + 1)
    for _ in range(5):
        net(torch.randn(16, 8))
    return CoresetSampler(Task.from_model(net, pool, loss="ce"), get_selector("el2n"), 31, warmup=0, every=1, **shares)


def _without_world_size(rank: int) -> Any:
    """What a rank sees if it says nothing of ranks, and if it says that a wrapper deals out; its losses after an exchange."""
    s, whole = _own_statistics(rank), _own_statistics(rank, rank=0, world_size=1)
    s.set_epoch(0)
    whole.set_epoch(0)
    i = InfoBatchSampler(120, epochs=10, rank=0, world_size=1)
    i.set_epoch(0)
    i.update(torch.arange(rank, 120, 3), torch.rand(40))
    i.set_epoch(1)
    return (s.rank, s.world_size), list(s), list(whole), list(i)


def test_rank_and_world_size_are_those_of_the_group(tmp_path: Path) -> None:
    """Left out, each of three ranks reads its share of rank 0's subset; given as 0 of 1, all have one order, one length."""
    said = in_processes(3, _without_world_size, tmp_path)
    assert [share for share, *_ in said] == [(0, 3), (1, 3), (2, 3)]
    (whole,) = {tuple(order) for _, _, order, _ in said}
    assert {i for _, share, _, _ in said for i in share} == set(whole)
    assert {len(share) for _, share, _, _ in said} == {11}
    assert len({tuple(order) for *_, order in said}) == 1
    assert len(said[0][3]) < 120  # losses of all ranks were known


def _seams(rank: int) -> list[str]:
    """What a rank is told in each of several mistakes, one after the other."""
    said = []
    saved, _ = sampler("epoch", n=N, warmup=0, every=1, rank=0, world_size=1)
    saved.set_epoch(3)
    one, _ = sampler("epoch", n=N, warmup=0, every=1, rank=0, world_size=1)
    if rank == 0:
        one.load_state_dict(saved.state_dict())
    said.append(_sentence(lambda: one.set_epoch(3)))
    seen = InfoBatchSampler(N, 10)
    seen.set_epoch(0)
    seen.update(torch.arange(N), torch.rand(N, generator=torch.Generator().manual_seed(0)))
    seen.set_epoch(1)
    fresh = InfoBatchSampler(N, 10)
    if rank == 1:
        fresh.load_state_dict(seen.state_dict())
    said.append(_sentence(lambda: fresh.set_epoch(1)))
    other, selector = sampler("epoch", n=N, warmup=0, every=1, seed=5)
    said.append(_sentence(lambda: other.set_epoch(rank)))

    def fail(*_: Any, **__: Any) -> Any:
        raise cases.Broken("the disk is full")

    if rank == 1:
        selector.select = fail  # type: ignore[method-assign]
    said.append(_sentence(lambda: other.set_epoch(2)))
    said.append(_sentence(lambda: sampler(n=N, warmup=rank)[0].set_epoch(5)))
    said.append(_sentence(lambda: sampler(n=N, rank=0, world_size=2)[0].set_epoch(0)))
    ranks.TIMEOUT = timedelta(seconds=1)
    said.append(_sentence(lambda: other.set_epoch(4)) if rank == 0 else "")
    return said


def test_what_differs_between_ranks_is_one_sentence_on_each(tmp_path: Path) -> None:
    """A state on one rank, other epochs, other schedules, a failure, a share twice, a silent rank: refused, and no rank waits."""
    for rank, said in enumerate(in_two_processes(_seams, tmp_path)):
        state, losses, epoch, failure, schedule, shares, silent = said
        assert "rank 1 has no selection, and rank 0 has the selection" in state
        assert "load the same state on every rank" in state
        assert "rank 1 has the losses" in losses
        assert "rank 1 has epoch 1, and rank 0 has 0" in epoch
        if rank == 0:
            assert failure == "ScheduleError: rank 1 failed while every rank had to select: Broken: the disk is full"
            answers = ("rank 1 of 2 did not answer rank 0 within 0:00:01", "rank 1 of 2 has ended without a word")
            assert any(answer in silent for answer in answers)
        else:
            assert failure == "Broken: the disk is full"
        assert "rank 1 has warmup 1, and rank 0 has 0" in schedule
        assert "no process reads share 1 of 2" in shares


class Shards(torch.utils.data.Sampler[int]):
    """A sampler that deals another sampler out, as wrappers of frameworks do."""

    def __init__(self, inner: Any, num_replicas: int) -> None:
        self.inner, self.num_replicas = inner, num_replicas

    def __iter__(self) -> Any:
        return iter(list(self.inner)[:: self.num_replicas])


class BatchShards(torch.utils.data.Sampler[list[int]]):
    """The same of batches, by a generator and under another name."""

    def __init__(self, inner: Any, num_processes: int) -> None:
        self.inner, self.num_processes = inner, num_processes

    def __iter__(self) -> Any:
        return self._iter_with_split()

    def _iter_with_split(self) -> Any:
        for number, batch in enumerate(torch.utils.data.BatchSampler(self.inner, 2, drop_last=False)):
            if number % self.num_processes == 0:
                yield batch


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("again", [1, 2, 4])
def test_an_epoch_that_is_dealt_out_twice_is_refused(num_workers: int, world: int, again: int) -> None:
    """A wrapper that deals out again is refused by name, inside a loader too; one dealer, of either kind, is right."""
    data = cases.Items(cases.images(20))
    for make in (Shards, BatchShards):
        s, _ = sampler(warmup=1, rank=0, world_size=world)
        s.set_epoch(0)
        outer: Any = {"sampler" if make is Shards else "batch_sampler": make(s, again)}
        loader: Any = DataLoader(data, num_workers=num_workers, **outer)
        said = _sentence(lambda loader=loader: list(loader))
        assert (f"by {make.__name__}" in said) == (world > 1 and again > 1)


def test_the_wrapper_of_torch_is_found() -> None:
    """A class derived from torch's DistributedSampler that deals out a list of ours is found, as Lightning's is."""

    class Wrapper(torch.utils.data.DistributedSampler[int]):
        def __init__(self, inner: Any) -> None:
            super().__init__(range(10), num_replicas=2, rank=0)  # type: ignore[arg-type]
            self.inner = inner

        def __iter__(self) -> Any:
            order = list(self.inner)
            return (order[i] for i in super().__iter__())

    s, _ = sampler(warmup=1, rank=0, world_size=2)
    s.set_epoch(0)
    assert "by Wrapper" in _sentence(lambda: list(Wrapper(s)))

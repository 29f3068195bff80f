"""CoresetSampler: it yields only subsets that were selected, and changes nothing else."""

import io
from collections import Counter
from typing import Any

import cases
import numpy as np
import pytest
import torch
from contract import random_states, same
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader

from coreselect import CoresetSampler, Indexed, select
from coreselect.errors import BudgetError, RequirementError, ScheduleError
from coreselect.selectors import RS2, Random, RCSSampled, Redraw


class Counting:
    """A selector that records its calls."""

    name = "counting"
    requires: frozenset[str] = frozenset()

    def __init__(self, renew: Any) -> None:
        self.renew = renew
        self.calls: list[int] = []

    def select(self, task: Any, budget: Any, *, generator: torch.Generator, round: int = 0) -> Any:
        """Draw uniformly for (seed, round)."""
        self.calls.append(round)
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            own = torch.Generator().manual_seed(1000 * generator.initial_seed() + round)
            return snapshot.selection(self, torch.randperm(snapshot.n, generator=own)[:budget].numpy())


def sampler(renew: Any = "round", n: int = 20, budget: Any = 6, **settings: Any) -> tuple[CoresetSampler, Counting]:
    """A sampler over arrays with a counting selector."""
    selector = Counting(renew)
    return CoresetSampler(cases.array_task(n), selector, budget, **settings), selector


@given(
    st.integers(0, 6),
    st.integers(1, 5),
    st.sampled_from(["never", "round", "epoch"]),
    st.lists(st.integers(0, 25), min_size=1, max_size=12),
)
def test_an_epoch_sees_the_pool_or_its_rounds_selection(warmup: int, every: int, renew: str, epochs: list[int]) -> None:
    """For any schedule and order of epochs: the pool before warmup, then exactly the selection of that epoch's round."""
    s, selector = sampler(renew, warmup=warmup, every=every, seed=3)
    for epoch in epochs:
        s.set_epoch(epoch)
        got = list(s)
        assert len(got) == len(s)
        if epoch < warmup:
            assert sorted(got) == list(range(20))
            continue
        r = {"never": 0, "round": (epoch - warmup) // every, "epoch": epoch - warmup}[renew]
        want = select(s.task, Counting(renew), 6, 3, round=r)  # type: ignore[arg-type]
        assert sorted(got) == sorted(want.indices.tolist())
        assert s.selection is not None
        assert s.selection.provenance.round == r
        assert selector.calls[-1] == r


@given(st.integers(0, 6), st.integers(1, 5))
def test_a_plain_run_selects_when_the_schedule_says(warmup: int, every: int) -> None:
    """There is one selection at warmup and one every `every` epochs after it, and none is made twice."""
    s, selector = sampler("round", warmup=warmup, every=every)
    for epoch in range(17):
        s.set_epoch(epoch)
        assert len(selector.calls) == (0 if epoch < warmup else (epoch - warmup) // every + 1)
    assert selector.calls == sorted(set(selector.calls))


@pytest.mark.parametrize(("renew", "calls"), [("never", [0]), ("round", [0, 1, 2]), ("epoch", [0, 1, 2, 3, 4, 5, 6])])
def test_selectors_renew_as_often_as_they_say(renew: Any, calls: list[int]) -> None:
    """Over seven epochs with every=3, a method selects once, at every renewal, or every epoch, as its `renew` says."""
    s, selector = sampler(renew, warmup=0, every=3)
    for epoch in range(7):
        s.set_epoch(epoch)
    assert selector.calls == calls


def test_iterating_and_measuring_select_nothing() -> None:
    """Only set_epoch selects, not len or iter; a second call for the same epoch does not select again."""
    s, selector = sampler(warmup=0)
    assert len(s) == 6
    s.set_epoch(0)
    s.set_epoch(0)
    for _ in range(3):
        list(s)
    assert selector.calls == [0]


def test_order_is_fixed_by_seed_and_epoch() -> None:
    """The same epoch has the same order, another epoch another; without shuffling it is pool order, then pick order."""
    s, _ = sampler(warmup=2, every=10, seed=5)
    s.set_epoch(1)
    first = list(s)
    assert first == list(s)
    s.set_epoch(0)
    assert list(s) != first
    s.set_epoch(2)
    one = list(s)
    s.set_epoch(3)
    assert one != list(s)
    plain, _ = sampler(warmup=1, shuffle=False)
    plain.set_epoch(0)
    assert list(plain) == list(range(20))
    plain.set_epoch(1)
    assert plain.selection is not None
    assert list(plain) == plain.selection.indices.tolist()


def test_a_missing_set_epoch_is_refused() -> None:
    """Iterating before set_epoch raises an error that names the missing call; the length is known."""
    s, _ = sampler()
    with pytest.raises(ScheduleError, match="set_epoch"):
        iter(s)
    assert len(s) == 20


def test_bad_schedules_are_refused_at_once() -> None:
    """Impossible schedules, budgets and missing requirements raise an error at construction; negative epochs in set_epoch."""
    for settings in ({"warmup": -1}, {"every": 0}, {"rank": 2, "world_size": 2}, {"rank": -1}):
        with pytest.raises(ScheduleError):
            sampler(**settings)
    with pytest.raises(BudgetError):
        sampler(budget=21)
    with pytest.raises(RequirementError, match="gradients"):
        CoresetSampler(cases.array_task(9, gradients=None, validation_gradient=None), cases.rcs(), 3)
    with pytest.raises(ScheduleError):
        sampler()[0].set_epoch(-1)


def test_a_selection_that_fails_leaves_the_epoch_before() -> None:
    """If a selection fails, the sampler does not continue the new epoch with a subset of another round."""
    s, selector = sampler("round", warmup=0, every=1)
    s.set_epoch(0)
    before = list(s)

    def fail(*_: Any, **__: Any) -> Any:
        raise cases.Broken("no")

    selector.select = fail  # type: ignore[method-assign]
    with pytest.raises(cases.Broken):
        s.set_epoch(1)
    assert s.epoch == 0
    assert list(s) == before


@pytest.mark.parametrize("world", [2, 3, 7])
@pytest.mark.parametrize("epoch", [0, 1])
def test_rank_shares_cover_the_epoch(world: int, epoch: int) -> None:
    """Shares have equal length, cover the epoch together, and repeat no more than padding needs."""
    shares = []
    for rank in range(world):
        s, _ = sampler(warmup=1, rank=rank, world_size=world)
        s.set_epoch(epoch)
        shares.append(list(s))
        assert len(shares[-1]) == len(s)
    alone, _ = sampler(warmup=1)
    alone.set_epoch(epoch)
    whole = list(alone)
    assert {len(share) for share in shares} == {-(-len(whole) // world)}
    counts = Counter(i for share in shares for i in share)
    assert set(counts) == set(whole)
    assert sum(counts.values()) - len(whole) < world


def test_more_ranks_than_picks() -> None:
    """With one pick and four ranks every rank gets it."""
    for rank in range(4):
        s, _ = sampler(budget=1, warmup=0, rank=rank, world_size=4)
        s.set_epoch(0)
        assert len(list(s)) == len(s) == 1


class TestWeights:
    """Factors of the per-example losses."""

    def made(self) -> CoresetSampler:
        """A sampler of weighted picks."""
        s = CoresetSampler(cases.array_task(30), RCSSampled(alpha=0.9, temperature=0.3), 10, warmup=1)
        s.set_epoch(1)
        return s

    def test_have_mean_one_over_the_selection(self) -> None:
        """Over the selection the factors have mean 1 and the proportions of its weights."""
        s = self.made()
        assert s.selection is not None
        assert s.selection.weights is not None
        w = s.weights(torch.from_numpy(s.selection.indices))
        assert w.dtype == torch.float32
        assert float(w.mean()) == pytest.approx(1, rel=1e-6)
        assert np.allclose(w.numpy() / w[0].item(), s.selection.weights / s.selection.weights[0])

    def test_go_by_position_in_any_order_and_shape(self) -> None:
        """Positions in any order, repeated, or as a matrix, each get their own factor."""
        s = self.made()
        assert s.selection is not None
        ids = torch.from_numpy(s.selection.indices)
        w = s.weights(ids)
        order = torch.tensor([3, 0, 7, 3])
        assert torch.equal(s.weights(ids[order]), w[order])
        assert torch.equal(s.weights(ids.view(2, 5)), w.view(2, 5))

    def test_are_one_for_the_pool_and_for_unweighted_methods(self) -> None:
        """Before warmup, and for methods without weights, every factor is 1."""
        s = self.made()
        s.set_epoch(0)
        assert s.weights(torch.arange(5)).tolist() == [1] * 5
        plain, _ = sampler(warmup=0)
        plain.set_epoch(0)
        assert plain.weights(torch.tensor([1, 2])).tolist() == [1, 1]

    def test_others_are_refused(self) -> None:
        """A position outside the current selection raises an error."""
        s = self.made()
        assert s.selection is not None
        other = next(i for i in range(30) if i not in s.selection.indices)
        with pytest.raises(ScheduleError, match="not in the current selection"):
            s.weights(torch.tensor([other]))


class TestInDataLoader:
    """Inside torch's DataLoader."""

    def epochs(self, **loader: Any) -> list[list[int]]:
        """Return the positions that four epochs read; the length changes from 20 to 6 in between."""
        data = Indexed(cases.Items(cases.images(20), cases.classes(20)))
        s, _ = sampler(warmup=2, every=1)
        loop: Any = DataLoader(data, batch_size=4, sampler=s, generator=torch.Generator(), **loader)
        out = []
        for epoch in range(4):
            s.set_epoch(epoch)
            seen = [int(i) for _, _, ids in loop for i in ids]
            assert len(loop) == -(-len(s) // 4)
            assert seen == list(s)
            out.append(seen)
        return out

    @pytest.mark.parametrize("loader", [{}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}])
    def test_workers_read_what_the_sampler_says(self, loader: Any) -> None:
        """With no, two, or two persistent workers every epoch reads the sampler's positions, also if its length changes."""
        assert [len(e) for e in self.epochs(**loader)] == [20, 20, 6, 6]

    def test_in_a_batch_sampler(self) -> None:
        """Inside a BatchSampler that drops the last batch the batches are the epoch's."""
        s, _ = sampler(warmup=1)
        loop: Any = DataLoader(Indexed(cases.Items(cases.images(20))), batch_sampler=BatchSampler(s, 4, drop_last=True))
        for epoch, count in ((0, 5), (1, 1), (2, 1)):
            s.set_epoch(epoch)
            batches = [ids.tolist() for _, ids in loop]
            assert len(batches) == len(loop) == count
            assert [i for b in batches for i in b] == list(s)[: 4 * count]

    def test_moves_no_global_random_state(self) -> None:
        """Selecting and iterating the sampler move no global random state."""
        s = CoresetSampler(cases.sat_task(20), cases.rcs(), 6, warmup=1, every=1)
        before = random_states()
        for epoch in range(3):
            s.set_epoch(epoch)
            list(s)
        assert random_states() == before


class TestResuming:
    """Saving and loading the state."""

    @pytest.mark.parametrize("make", [cases.rcs, RS2, Redraw, Random, lambda: RCSSampled(objective=cases.RD_WEAK)])
    def test_a_fresh_sampler_goes_on_with_the_same_subset(self, make: Any) -> None:
        """After torch.save and a weights-only load the selection is bit-identical, and nothing is selected again."""
        task = cases.sat_task(20)
        s = CoresetSampler(task, make(), 6, warmup=1, every=4, seed=2)
        s.set_epoch(3)
        file = io.BytesIO()
        torch.save(s.state_dict(), file)
        file.seek(0)
        state = torch.load(file, weights_only=True)
        selector = make()
        fresh = CoresetSampler(task, selector, 6, warmup=1, every=4, seed=2)
        fresh.load_state_dict(state)
        assert s.selection is not None
        assert fresh.selection is not None
        same(fresh.selection, s.selection)
        assert fresh.selection.provenance.settings == s.selection.provenance.settings
        kept = fresh.selection
        fresh.set_epoch(3)
        assert fresh.selection is kept
        assert list(fresh) == list(s)

    def test_goes_on_as_if_nothing_had_happened(self) -> None:
        """A run that is stopped at any epoch and resumed has the same remaining epochs as an uninterrupted run."""
        whole, _ = sampler("round", warmup=2, every=3)
        epochs = []
        for epoch in range(9):
            whole.set_epoch(epoch)
            epochs.append(list(whole))
        for stop in range(8):
            first, _ = sampler("round", warmup=2, every=3)
            for epoch in range(stop + 1):
                first.set_epoch(epoch)
            second, _ = sampler("round", warmup=2, every=3)
            second.load_state_dict(first.state_dict())
            assert list(second) == epochs[stop]
            for epoch in range(stop + 1, 9):
                second.set_epoch(epoch)
                assert list(second) == epochs[epoch]

    def test_before_the_first_epoch_there_is_a_state_too(self) -> None:
        """A sampler before its first set_epoch can be saved and restored, and still needs set_epoch."""
        s, _ = sampler()
        fresh, _ = sampler()
        fresh.load_state_dict(s.state_dict())
        with pytest.raises(ScheduleError, match="set_epoch"):
            iter(fresh)

    @pytest.mark.parametrize("other", [{"warmup": 3}, {"every": 7}, {"seed": 1}, {"budget": 5}, {"n": 21}])
    def test_a_state_of_another_schedule_is_refused(self, other: Any) -> None:
        """Another warmup, interval, seed, budget or pool size raises an error that names it."""
        s, _ = sampler(warmup=2, every=2, seed=0)
        s.set_epoch(2)
        settings = {"warmup": 2, "every": 2, "seed": 0, **other}
        fresh, _ = sampler(**settings)
        with pytest.raises(ScheduleError):
            fresh.load_state_dict(s.state_dict())

    def test_a_state_of_another_selector_is_refused(self) -> None:
        """Another method, or the same method with other settings, raises an error."""
        task = cases.sat_task(20)
        s = CoresetSampler(task, cases.rcs(eta=0.01), 6, warmup=0)
        s.set_epoch(0)
        for selector in (Redraw(), cases.rcs(eta=0.5)):
            with pytest.raises(ScheduleError):
                CoresetSampler(task, selector, 6, warmup=0).load_state_dict(s.state_dict())

    def test_a_state_of_another_pool_is_refused(self) -> None:
        """A pool of the same length with other images raises an error, because its fingerprint differs."""
        s = CoresetSampler(cases.sat_task(20), cases.rcs(), 6, warmup=0)
        s.set_epoch(0)
        with pytest.raises(ScheduleError):
            CoresetSampler(cases.sat_task(20, seed=5), cases.rcs(), 6, warmup=0).load_state_dict(s.state_dict())

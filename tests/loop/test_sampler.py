"""CoresetSampler: it yields only subsets that were selected, and changes nothing else."""

from collections import Counter
from typing import Any

import cases
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from samplers import Counting, sampler

from coreselect import CoresetSampler, get_selector, select
from coreselect.errors import BudgetError, RequirementError, ScheduleError
from coreselect.loop import sampler as sampler_module
from coreselect.selectors import RCSSampled


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

    def test_are_looked_up_in_a_table_made_once_a_selection(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A batch reads the table; a new selection has its own, and factors are those of that selection."""
        made: list[Any] = []
        real = sampler_module.factors_of
        monkeypatch.setattr(sampler_module, "factors_of", lambda *given: made.append(given) or real(*given))
        s = self.made()
        for epoch in (1, 1, 11):
            s.set_epoch(epoch)
            assert s.selection is not None
            assert s.selection.weights is not None
            for i in range(5):
                got = float(s.weights(torch.tensor(s.selection.indices[i])))
                assert got == pytest.approx(s.selection.weights[i] / s.selection.weights.mean(), rel=1e-6)
        assert len(made) == 2
        assert s.weights(torch.empty(0, dtype=torch.int64)).shape == (0,)

    @pytest.mark.parametrize("wrong", [[-1], [30], [2**40], [-(2**40), 0], [0.5]])
    def test_of_positions_outside_the_selection_are_refused(self, wrong: list[float]) -> None:
        """Also of negative positions and of those beyond the pool, alone or beside others."""
        s = self.made()
        assert s.selection is not None
        left_out = next(i for i in range(30) if i not in s.selection.indices)
        inside = int(s.selection.indices[0])
        for bad in ([left_out], [inside, left_out], wrong, [inside, *wrong]):
            with pytest.raises(ScheduleError, match="not in the current selection"):
                s.weights(torch.tensor(bad))

    @pytest.mark.parametrize("kind", [torch.bool, torch.complex64])
    def test_of_a_mask_are_refused(self, kind: torch.dtype) -> None:
        """A mask, or complex numbers, are never taken for the positions that they would be cut to."""
        s = CoresetSampler(cases.array_task(30), get_selector("gradmatch"), 30, warmup=0)
        s.set_epoch(0)
        assert len(s.weights(torch.tensor([0, 1]))) == 2
        with pytest.raises(ScheduleError, match="not in the current selection"):
            s.weights(torch.tensor([0, 1]).to(kind))

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

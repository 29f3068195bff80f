"""A sampler continues where a run stopped."""

import io
from typing import Any

import cases
import pytest
import torch
from contract import same
from samplers import sampler

from coreselect import CoresetSampler
from coreselect.errors import ScheduleError
from coreselect.selectors import RS2, Random, RCSSampled, Redraw


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
        """A sampler before its first set_epoch can be saved and restored, and still serves epoch 0 for one pass."""
        s, _ = sampler()
        fresh, _ = sampler()
        fresh.load_state_dict(s.state_dict())
        assert sorted(fresh) == list(range(20))
        with pytest.raises(ScheduleError, match="set_epoch"):
            list(fresh)

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

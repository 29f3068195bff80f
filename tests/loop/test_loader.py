"""A sampler inside torch's DataLoader."""

from typing import Any

import cases
import pytest
import torch
from contract import random_states
from samplers import sampler
from torch.utils.data import BatchSampler, DataLoader

from coreselect import CoresetSampler, Indexed


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

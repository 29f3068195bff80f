"""Batches of which a part comes from a trusted set: examples that are known to be clean, as well as those of a sampler.

    sampler = CoresetSampler(task, RS2(), budget=0.1)
    batches = TrustedBatches(sampler, trusted=len(clean), batch_size=128, share=0.5)
    loader = DataLoader(ConcatDataset([pool, clean]), batch_sampler=batches)

A batch of B has t = ⌊share·B + ½⌋ trusted examples, at least one, and B − t of the sampler's epoch. An epoch of k positions has
⌈k / (B − t)⌉ batches; the last one may be smaller, with the same share. In an epoch the trusted examples
walk through permutations of their set.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import Sampler

from coreselect.errors import ScheduleError
from coreselect.support.seeding import generator as seeded
from coreselect.support.type_checks import share_of_one, whole

if TYPE_CHECKING:
    from coreselect.loop.sampler import CoresetSampler


class TrustedBatches(Sampler[list[int]]):
    """Yield batches of positions in `ConcatDataset([pool, trusted set])`, for `DataLoader(batch_sampler=...)`.

    Args:
        sampler: of the pool; `set_epoch` is called on it, as without trusted examples.
        trusted: how many trusted examples there are, ≥ 1; they have the positions N … N + trusted − 1.
        batch_size: B ≥ 2, of this rank.
        share: of each batch that is trusted, in (0, 1).
        seed: of the trusted draws; ranks draw differently.
    Raises:
        ScheduleError: a number is out of range, or a batch would hold no example of the pool.
    """

    def __init__(
        self, sampler: CoresetSampler, trusted: int, batch_size: int, share: float = 0.5, *, seed: int = 0
    ) -> None:
        self.sampler, self.seed = sampler, whole("seed", seed, ScheduleError)
        self.trusted_size = whole("trusted", trusted, ScheduleError, least=1)
        size = whole("batch_size", batch_size, ScheduleError, least=2)
        share_of_one("the trusted part of a batch", share, ScheduleError, whole=False)
        self.per_batch = max(1, int(share * size + 0.5))
        self.of_pool = size - self.per_batch
        if not self.of_pool:
            raise ScheduleError(f"a share of {share} leaves no example of the pool in batches of {size}: lower it.")

    def __len__(self) -> int:
        """Return how many batches the current epoch has."""
        return -(-len(self.sampler) // self.of_pool)

    def __iter__(self) -> Iterator[list[int]]:
        positions = iter(self.sampler)
        draws: Iterator[int] | None = None
        while own := list(islice(positions, self.of_pool)):
            draws = self._draws() if draws is None else draws  # the sampler knows its epoch once it is read
            few = max(1, int(len(own) * self.per_batch / self.of_pool + 0.5))
            yield [*own, *(next(draws) for _ in range(few))]

    def weights(self, indices: Tensor) -> Tensor:
        """Return `sampler.weights` of positions in the pool, and 1 for trusted ones; float32, in the same shape.

        Raises:
            ScheduleError: a position of the pool is not in the current selection.
        """
        own = indices < self.sampler.pool_size
        out = torch.ones(indices.shape, device=indices.device)
        out[own] = self.sampler.weights(indices[own])
        return out

    def _draws(self) -> Iterator[int]:
        """Yield trusted positions without end, from where the epoch begins in the walk through permutations."""
        n, m = self.sampler.pool_size, self.trusted_size
        at = (self.sampler.epoch or 0) * len(self) * self.per_batch
        while True:
            cycle, first = divmod(at, m)
            order = torch.randperm(m, generator=seeded(self.seed, "trusted", self.sampler.rank, cycle)).numpy()
            yield from (n + order[first:]).tolist()
            at = (cycle + 1) * m

"""A `CoresetSampler` in epochs on the whole pool, compared with `RandomSampler`, in a `DataLoader` over trivial items.

Items and collation do nothing, so the cost of the sampler is visible; `set_epoch` is counted too. Both loaders take turns of
some batches, and the order changes every round. `ratio` is the median over rounds of ours / `RandomSampler`.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler

from benchmarks.case_types import SamplerCase
from benchmarks.meter import Meter, take_turns
from coreselect import CoresetSampler, Task
from coreselect.selectors import Redraw

NEVER = 1 << 40  # a warm-up longer than any run


class NoOp(Dataset[int]):
    """Items that cost nothing."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: int) -> int:
        return index


def run(case: SamplerCase) -> dict[str, Any]:
    """Measure one case: `ratio` is the median over rounds."""
    items = NoOp(case.items)
    task = Task.from_arrays(labels=np.zeros(case.items, np.int64))
    ours = CoresetSampler(task, Redraw(), 0.1, warmup=NEVER, seed=case.seed)
    theirs = RandomSampler(items, generator=torch.Generator().manual_seed(case.seed))

    def epoch_of_ours(epoch: int) -> Iterator[None]:
        ours.set_epoch(epoch)
        yield from _epoch(loader_of_ours, case.batches_a_turn)

    def loader(sampler: Any) -> DataLoader[int]:
        return DataLoader(
            items, case.batch_size, sampler=sampler, collate_fn=_as_it_is, generator=torch.Generator().manual_seed(0)
        )

    loader_of_ours, loader_of_theirs = loader(ours), loader(theirs)
    meters = []
    for epoch in range(case.rounds + 1):
        sides = {"CoresetSampler": epoch_of_ours(epoch), "RandomSampler": _epoch(loader_of_theirs, case.batches_a_turn)}
        if epoch % 2:
            sides = dict(reversed(sides.items()))
        with Meter(every=None) as meter:  # a thread that samples memory would disturb what is timed here
            take_turns(sides, meter)
        if epoch:  # the first round fills caches
            meters.append(meter)
    ratios = [m.seconds["CoresetSampler"] / m.seconds["RandomSampler"] for m in meters]
    of_cpu = [m.cpu_seconds["CoresetSampler"] / m.cpu_seconds["RandomSampler"] for m in meters]
    return {
        "ratio": float(np.median(ratios)),
        "cpu_ratio": float(np.median(of_cpu)),
        "ratio_quartiles": [round(float(q), 4) for q in np.quantile(ratios, (0.25, 0.75))],
        "seconds": {side: round(float(np.median([m.seconds[side] for m in meters])), 4) for side in meters[0].seconds},
        "cpu_seconds": {
            side: round(float(np.median([m.cpu_seconds[side] for m in meters])), 4) for side in meters[0].seconds
        },
        "peak_mib": {side: round(max(m.peak[side] for m in meters) / (1 << 20), 1) for side in meters[0].peak},
    }


def _as_it_is(batch: list[int]) -> list[int]:
    return batch


def _epoch(loader: DataLoader[int], batches: int) -> Iterator[None]:
    """Run through a loader and yield after every `batches` batches."""
    source = iter(loader)
    while next(islice(source, batches - 1, None), None) is not None:
        yield

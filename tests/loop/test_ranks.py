"""In a process group of two, every rank trains on the same subset."""

from pathlib import Path

import cases
from processes import in_two_processes

from coreselect import CoresetSampler


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

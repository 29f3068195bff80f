"""In a process group of two, every rank trains on the same subset."""

from typing import Any

import cases
import torch.multiprocessing as mp

from coreselect import CoresetSampler


def _rank(rank: int, where: str, out: Any) -> None:
    """Run one process, whose model differs from the other's: select, and report the selection and this rank's share."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{where}", rank=rank, world_size=2)
    try:
        task = cases.sat_task(24, model=cases.built(cases.ConvNet, seed=rank))
        sampler = CoresetSampler(task, cases.rcs(), 8, warmup=0, every=1, rank=rank, world_size=2)
        sampler.set_epoch(0)
        assert sampler.selection is not None
        out.put((rank, (sampler.selection.indices.tolist(), list(sampler))))
    finally:
        dist.destroy_process_group()


def test_ranks_whose_models_differ_train_on_one_subset(tmp_path: Any) -> None:
    """Although the two models would choose differently, both ranks use rank 0's selection, and their shares together are it."""
    context = mp.get_context("spawn")
    out: Any = context.Queue()
    processes = [context.Process(target=_rank, args=(r, str(tmp_path / "meet"), out)) for r in range(2)]
    for p in processes:
        p.start()
    answers = dict(out.get(timeout=240) for _ in range(2))
    for p in processes:
        p.join()
    (mine, first), (theirs, second) = answers[0], answers[1]
    assert mine == theirs
    assert sorted(first + second) == sorted(mine)

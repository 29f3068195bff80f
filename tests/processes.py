"""Run a function in two processes of one process group."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.multiprocessing as mp


def _run(work: Callable[[int], Any], rank: int, where: str, out: Any) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{where}", rank=rank, world_size=2)
    try:
        out.put((rank, work(rank)))
    finally:
        dist.destroy_process_group()


def in_two_processes(work: Callable[[int], Any], folder: Path) -> list[Any]:
    """Return work(0) and work(1), computed by two spawned processes that can talk to each other.

    Args:
        work: a function of a test module, of the rank.
        folder: an empty one, where the processes meet.
    """
    context = mp.get_context("spawn")
    out: Any = context.Queue()
    processes = [context.Process(target=_run, args=(work, rank, str(folder / "meet"), out)) for rank in range(2)]
    for process in processes:
        process.start()
    answers = dict(out.get(timeout=240) for _ in range(2))
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    return [answers[rank] for rank in range(2)]

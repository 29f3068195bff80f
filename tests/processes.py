"""Run a function in the processes of one process group."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch.multiprocessing as mp


def _run(work: Callable[[int], Any], rank: int, count: int, where: str, out: Any) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{where}", rank=rank, world_size=count)
    try:
        out.put((rank, work(rank)))
    except Exception:
        out.put((None, traceback.format_exc()))
    finally:
        dist.destroy_process_group()


def in_two_processes(work: Callable[[int], Any], folder: Path) -> list[Any]:
    """Return work(0) and work(1), see `in_processes`."""
    return in_processes(2, work, folder)


def in_processes(count: int, work: Callable[[int], Any], folder: Path) -> list[Any]:
    """Return work(0), work(1), …, computed by spawned processes that can talk to each other.

    Args:
        count: of processes.
        work: a function of a test module, of the rank.
        folder: an empty one, where the processes meet.
    """
    context = mp.get_context("spawn")
    out: Any = context.Queue()
    processes = [
        context.Process(target=_run, args=(work, rank, count, str(folder / "meet"), out)) for rank in range(count)
    ]
    for process in processes:
        process.start()
    answers: dict[int, Any] = {}
    while len(answers) < count:
        rank, answer = out.get(timeout=240)
        if rank is None:
            for process in processes:
                process.terminate()
            raise AssertionError(answer)
        answers[rank] = answer
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    return [answers[rank] for rank in range(count)]

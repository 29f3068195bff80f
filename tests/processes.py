"""Run functions in the processes of one process group, or of one group after another."""

import traceback
from collections.abc import Callable, Sequence
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


Group = tuple[Any, int, Callable[[int], Any]]  # its name, how many ranks it has, and their work


def _run_groups(
    groups: Sequence[Group], killed: Any, begin: Callable[[], None], rank: int, where: str, out: Any
) -> None:
    import torch.distributed as dist

    begin()
    for name, count, work in groups:
        if rank < count:
            dist.init_process_group("gloo", init_method=f"file://{where}/{name}", rank=rank, world_size=count)
            try:
                out.put((name, rank, work(rank)))
            except Exception:
                out.put((name, rank, traceback.format_exc()))
            if name != killed:
                dist.destroy_process_group()


def in_groups(
    groups: Sequence[Group], folder: Path, *, killed: Any, begin: Callable[[], None]
) -> Callable[[Any], list[Any]]:
    """Do the work of one process group after another, and return what gives the answers of a group by its name, rank by rank.

    The same processes are the ranks of all groups.

    Args:
        groups: with functions of a test module, of the rank.
        folder: an empty one, where the processes meet.
        killed: the name of the last group, one rank of which ends without an answer.
        begin: a function of a test module, which every process calls first.
    """
    context = mp.get_context("spawn")
    out: Any = context.Queue()
    processes = [
        context.Process(target=_run_groups, args=(groups, killed, begin, rank, str(folder), out))
        for rank in range(max(count for _, count, _ in groups))
    ]
    for process in processes:
        process.start()
    found: dict[Any, dict[int, Any]] = {}
    for _ in range(sum(count for _, count, _ in groups) - 1):
        name, rank, said = out.get(timeout=240)
        assert not isinstance(said, str) or "Traceback" not in said, said
        found.setdefault(name, {})[rank] = said
    for process in processes:
        process.join(60)
    return lambda name: [said for _, said in sorted(found[name].items())]

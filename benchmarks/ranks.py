"""The gradient sweep over a pool by several ranks, compared with the same sweep by one; every rank has one thread.

Both sides make the rows of a SAT task that captures the head, opening the snapshot included. They alternate: rank 0 sweeps
alone while the others wait, then all share. The ratio is that of the smallest seconds of either, since other work on the
machine only adds to them.
"""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from benchmarks import problem
from benchmarks.case_types import RanksCase
from coreselect import Task, holdout
from coreselect.support import ranks, seeding
from coreselect.task.groups import deal


def run(case: RanksCase, *, data: str) -> dict[str, Any]:
    """Measure one case: `ratio` is one rank / all ranks, `same` is 1 if both give the same bits."""
    with TemporaryDirectory() as folder:
        mp.spawn(_rank, args=(case, data, folder), nprocs=case.ranks)  # type: ignore[no-untyped-call]
        return torch.load(Path(folder) / "found.pt", weights_only=True)


def _rank(rank: int, case: RanksCase, data: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=case.ranks)
    dataset = problem.images(data, case.pool + case.validation)
    pool, validation = holdout(dataset, size=case.validation, seed=case.seed)
    task: Any = Task.from_model(
        problem.network(), pool, validation, loss="sat", attack=case.attack, batch_size=case.batch_size
    )
    groups = deal(case.pool, case.group_size, seeding.generator(case.seed, "groups", 0))

    def sweep(work: ranks.Work | None) -> Tensor:
        with replace(task, work=work).snapshot(case.seed, 0) as shot:
            rows, _ = shot.rows(groups)
            return torch.stack([rows.full(m) for m in range(len(groups))])  # [M, P]

    seconds: dict[str, list[float]] = {"one": [], "all": []}
    cpu: dict[str, list[float]] = {"one": [], "all": []}  # of the busiest rank
    same = True
    sweep(None)  # the first pass chooses kernels and fills caches
    for _ in range(case.rounds):
        alone = together = torch.empty(0)
        ranks.exchange("one", "measure")
        if rank == 0:
            start, busy = perf_counter(), process_time()
            alone = sweep(None)
            seconds["one"].append(perf_counter() - start)
            cpu["one"].append(process_time() - busy)
        ranks.exchange("all", "measure")
        start, busy = perf_counter(), process_time()
        together = ranks.together(sweep, "sweep")
        seconds["all"].append(perf_counter() - start)
        cpu["all"].append(max(ranks.exchange(process_time() - busy, "measure")))
        same = same and (rank > 0 or torch.equal(alone, together))
    if rank == 0:
        found = {
            "ratio": min(seconds["one"]) / min(seconds["all"]),
            "cpu_ratio": min(cpu["one"]) / min(cpu["all"]),
            "same": float(same),
            "rounds": {"seconds": seconds, "cpu_seconds_of_the_busiest_rank": cpu},
        }
        torch.save(found, Path(folder) / "found.pt")
    ranks.exchange("the end", "measure")
    dist.destroy_process_group()

"""Work by several ranks, compared with the same work by one; every rank has one thread.

Both sides alternate: rank 0 works alone while the others wait, then all share. The ratio is that of the smallest seconds of
either, since other work on the machine only adds to them.

* `RanksCase`: the rows of a SAT task that captures the head, opening the snapshot included.
* `TrainingRanksCase`: an epoch of SAT, each update made by all ranks together (`training.data_parallel`).
"""

from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.utils.data import DataLoader, SequentialSampler

from benchmarks import problem
from benchmarks.case_types import RanksCase, TrainingRanksCase
from coreselect import Indexed, Task, holdout
from coreselect.support import ranks, seeding
from coreselect.task.groups import deal
from coreselect_integrations.systems import sat
from coreselect_integrations.training.batches import NonSingletonBatches
from coreselect_integrations.training.data_parallel import DataParallel
from coreselect_integrations.training.workers import Worker

T = TypeVar("T")


def run(case: RanksCase | TrainingRanksCase, *, data: str) -> dict[str, Any]:
    """Measure one case: `ratio` is one rank / all ranks.

    `same` is 1 if one rank and all make the same bits; of training, if all ranks end with the same bits.
    """
    work = _sweeping if isinstance(case, RanksCase) else _training
    with TemporaryDirectory() as folder:
        mp.spawn(_rank, args=(work, case, data, folder), nprocs=case.ranks)  # type: ignore[no-untyped-call]
        return torch.load(Path(folder) / "found.pt", weights_only=True)


def _rank(rank: int, work: Callable[[Any, str], dict[str, Any]], case: Any, data: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=case.ranks)
    found = work(case, data)
    if rank == 0:
        torch.save(found, Path(folder) / "found.pt")
    ranks.exchange("the end", "measure")
    dist.destroy_process_group()


def _sweeping(case: RanksCase, data: str) -> dict[str, Any]:
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

    found, alone, together = _in_turns(lambda: sweep(None), lambda: ranks.together(sweep, "sweep"), case.rounds)
    same = all(torch.equal(one, all_) for one, all_ in zip(alone, together, strict=True))
    return {**found, "same": float(same)}


def _training(case: TrainingRanksCase, data: str) -> dict[str, Any]:
    pool = Indexed(problem.images(data, case.pool))

    def epoch(worker_of: Callable[[torch.nn.Module], Worker]) -> Tensor:
        model = problem.network()
        worker = worker_of(model)
        batches = NonSingletonBatches(SequentialSampler(pool), case.batch_size)
        loader = DataLoader(pool, batch_sampler=worker.dealt(batches))  # type: ignore[arg-type]
        optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
        draws = worker.generator(case.seed, 0)
        batch_loader = worker.following(loader, draws)
        sat.train_epoch(model, batch_loader, optimizer, case.attack, generator=draws, worker=worker)
        worker.settle()
        return torch.cat([p.detach().flatten() for p in model.parameters()])  # [P]

    found, _, together = _in_turns(lambda: epoch(lambda _: Worker()), lambda: epoch(DataParallel), case.rounds)
    ends = ranks.exchange([blake2b(weights.numpy().tobytes()).hexdigest() for weights in together], "measure")
    return {**found, "same": float(all(end == ends[0] for end in ends))}


def _in_turns(
    alone: Callable[[], T], together: Callable[[], T], rounds: int
) -> tuple[dict[str, Any], list[T], list[T]]:
    """Return the ratios of one rank ÷ all, and what each side made; only rank 0 works alone."""
    seconds: dict[str, list[float]] = {"one": [], "all": []}
    cpu: dict[str, list[float]] = {"one": [], "all": []}  # of the busiest rank
    made: dict[str, list[T]] = {"one": [], "all": []}
    rank = ranks.rank()
    alone()  # the first time chooses kernels and fills caches
    for _ in range(rounds):
        ranks.exchange("one", "measure")
        if rank == 0:
            start, busy = perf_counter(), process_time()
            made["one"].append(alone())
            seconds["one"].append(perf_counter() - start)
            cpu["one"].append(process_time() - busy)
        ranks.exchange("all", "measure")
        start, busy = perf_counter(), process_time()
        made["all"].append(together())
        seconds["all"].append(perf_counter() - start)
        cpu["all"].append(max(ranks.exchange(process_time() - busy, "measure")))
    if rank > 0:
        return {}, made["all"], made["all"]
    ratios = {
        "ratio": min(seconds["one"]) / min(seconds["all"]),
        "cpu_ratio": min(cpu["one"]) / min(cpu["all"]),
        "rounds": {"seconds": seconds, "cpu_seconds_of_the_busiest_rank": cpu},
    }
    return ratios, made["one"], made["all"]

"""The gradient sweep with normalisations folded and kernels in channels_last, compared with the sweep of the layers as they are.

Both sides are the same call, `shot.rows(groups)` on a SAT task with the same attack steps and starts, in turns, round by round.
Only rounding differs, and where it turns the sign of a slope, a pixel of an attacked image: rows point the same way to 0.1 %.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks import problem
from benchmarks.case_types import FoldingCase
from benchmarks.meter import Meter, clock_of
from coreselect import Task, holdout
from coreselect.network.placing import placed
from coreselect.support import seeding
from coreselect.task.groups import deal


def run(case: FoldingCase, *, data: str, device: torch.device = problem.CPU) -> dict[str, Any]:
    """Measure one case: `ratio` is the fast sweep ÷ the plain one, `least_cosine` that of the rows of a group on both sides."""
    pool, _ = holdout(problem.images(data, case.pool + case.validation), size=case.validation, seed=case.seed)
    plain = problem.network(arch=case.arch, device=device).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    models = {"plain": plain, "fast": placed(copy.deepcopy(plain), device)}
    groups = deal(case.pool, case.group_size, seeding.generator(case.seed, "groups", 0))
    tasks = {
        name: Task.from_model(
            model, pool, loss="sat", attack=case.attack, batch_size=case.batch_size, fold=name == "fast"
        )
        for name, model in models.items()
    }
    rows: dict[str, torch.Tensor] = {}
    folded = 0
    for task in tasks.values():  # the first pass chooses kernels and fills caches
        with task.snapshot(case.seed, 0) as shot:
            shot.restrict(groups[0]).features()
    with Meter(clock=clock_of(device)) as meter:
        for _ in range(case.rounds):
            for name, task in tasks.items():
                with meter(name), task.snapshot(case.seed, 0) as shot:
                    made, _ = shot.rows(groups)
                    rows[name] = torch.stack([made.full(m) for m in range(len(groups))])
                    folded = shot.record(of_rows=True).get("folded", 0) if name == "fast" else folded
    return {
        "ratio": meter.seconds["fast"] / meter.seconds["plain"],
        "cpu_ratio": meter.cpu_seconds["fast"] / meter.cpu_seconds["plain"],
        **meter.record(),
        "folded": folded,
        "least_cosine": float(F.cosine_similarity(rows["fast"], rows["plain"]).min()),
    }

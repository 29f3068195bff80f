"""Methods that compare one example with all, beside a plain torch loop of the same method (`loops`).

Both run in this process in turns, with one thread: `ratio` is our processor seconds ÷ theirs, each the smallest of its rounds,
as other work on the machine only adds. `value` is the value of our picks ÷ that of theirs, computed plainly in float64, so that
larger is better; for `semdedup` and `nearest` it is the share of picks or neighbours in common.
"""

from collections.abc import Callable
from time import process_time
from typing import Any

import numpy as np
import torch

from benchmarks import loops, points
from benchmarks.case_types import LoopCase
from benchmarks.points import Float32, Picks
from coreselect import Selector, Task, select
from coreselect.search.neighbours import neighbours
from coreselect.selectors import CRAIG, FacilityLocation, GraphCut, Herding, KCenter, SemDeDup

Value = Callable[[Float32, Picks], float]


def cut(x: Float32, picks: Picks) -> float:
    """2 Σ_{i∈V, j∈S} s_ij − Σ_{i,j∈S} s_ij, s = (1 + cos)/2."""
    z = points.directions(x)
    chosen = z[picks]
    within = (1 + chosen @ chosen.T).sum() / 2
    return float((len(z) * len(chosen) + (z.sum(0) @ chosen.sum(0))) - within)


def nearness(x: Float32, picks: Picks) -> float:
    """1 ÷ the covering radius."""
    return 1 / points.radius(x, picks)


def agreement(x: Float32, picks: Picks) -> float:
    """1 ÷ the distance between the mean of the picks and the mean of all."""
    z = x.astype(np.float64)
    return float(1 / np.linalg.norm(z[picks].mean(0) - z.mean(0)))


def spared(x: Float32, picks: Picks) -> float:
    """n·c − Σ_i min_{j∈S} ‖g_i − g_j‖, c the largest distance of two examples."""
    d = torch.cdist(torch.from_numpy(x).double(), torch.from_numpy(x).double())
    return float(len(x) * d.max() - d[:, torch.as_tensor(np.array(picks))].amin(1).sum())


METHODS: dict[str, tuple[Selector, loops.Loop, Value | None]] = {
    "graph_cut": (GraphCut(), loops.graph_cut, cut),
    "k_center": (KCenter(), loops.k_center, nearness),
    "herding": (Herding(), loops.herding, agreement),
    "craig": (CRAIG(), loops.craig, spared),
    "facility": (FacilityLocation(), loops.facility, points.coverage),
    "semdedup": (SemDeDup(), loops.semdedup, None),
}


def run(case: LoopCase) -> dict[str, Any]:
    """Measure one case."""
    one_thread()
    x = points.mixture(case.pool, case.width, case.clusters, case.seed)
    ours, theirs = sides(case, x)
    spent: dict[str, list[float]] = {"ours": [], "loop": []}
    mine = other = np.empty(0, np.int64)
    for turn in range(case.rounds + 1):
        start = process_time()
        mine = np.array(ours())
        between = process_time()
        other = np.array(theirs())
        if turn:  # the first round loads libraries
            spent["ours"].append(between - start)
            spent["loop"].append(process_time() - between)
    by_round = [a / b for a, b in zip(spent["ours"], spent["loop"], strict=True)]
    value = METHODS[case.method][2] if case.method in METHODS else None
    shared = np.mean(
        [len(np.intersect1d(a, b)) / len(a) for a, b in zip(np.atleast_2d(mine), np.atleast_2d(other), strict=True)]
    )
    return {
        "ratio": min(spent["ours"]) / min(spent["loop"]),
        "ratio_by_round": [round(r, 4) for r in by_round],
        "cpu_seconds": {name: round(min(seconds), 4) for name, seconds in spent.items()},
        "in_common": float(shared),
        "value": float(shared) if value is None else value(x, mine) / value(x, other),
    }


def sides(case: LoopCase, x: Float32) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return our side and the plain one: each returns picks [k], or neighbours [n, k]."""
    if case.method == "nearest":
        z = torch.from_numpy(x)
        return lambda: neighbours(z, case.budget).indices.numpy(), lambda: loops.nearest(x, case.budget)
    selector, loop, _ = METHODS[case.method]

    def ours() -> Any:
        task = Task.from_arrays(gradients=x) if case.method == "craig" else Task.from_arrays(features=x)
        return select(task, selector, case.budget, 0).indices

    return ours, lambda: loop(x, case.budget)


def one_thread() -> None:
    """Let torch and FAISS use one thread."""
    torch.set_num_threads(1)
    try:
        import faiss
    except ImportError:
        return
    faiss.omp_set_num_threads(1)

"""Selections by all cores, beside the same selections by one thread: threads of several libraries must not wait for each other.

torch, FAISS and numpy's BLAS each have threads of their own, which wait in a busy loop. Where a method goes from one library to
another at every step, more cores can make it many times as slow. Each setting has a process of its own, because the number of
threads is read at the start; the two take turns.

    python -m benchmarks.threads '{"pool": 10000, "budget": 500, ...}'     the seconds and picks of one process, as JSON
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from benchmarks.case_types import ThreadsCase
from benchmarks.points import mixture
from benchmarks.search import greedy_towards
from coreselect import Selector, Task, select
from coreselect.selectors import SAS, FacilityLocation, GraphCut, Herding, KCenter, Prototypicality, SemDeDup

SETTINGS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
RUNS = 3  # of a method in a process; the fastest counts
ETA = 0.01
METHODS: Mapping[str, Selector] = {
    "facility_location": FacilityLocation(),
    "graph_cut": GraphCut(),
    "herding": Herding(),
    "k_center": KCenter(),
    "prototypicality": Prototypicality(),
    "sas": SAS(),
    "semdedup": SemDeDup(),
}
Measured = Mapping[str, tuple[float, list[int]]]  # of each method the seconds, and the picks in order


def run(case: ThreadsCase, child: Callable[[ThreadsCase, int | None], Measured] | None = None) -> dict[str, Any]:
    """Measure one case: `ratio` is the largest of our seconds by all cores ÷ those by one thread; `same` says whether picks agree.

    Args:
        case: the pool and the budget.
        child: measures every method with so many threads (None: as many as the libraries choose); None runs a process.
    """
    child = child or in_own_process
    found = [(child(case, None), child(case, 1)) for _ in range(case.rounds)]
    names = list(found[0][0])
    seconds = {
        name: {
            side: round(min(turn[at][name][0] for turn in found), 4)
            for at, side in enumerate(("all cores", "one thread"))
        }
        for name in names
    }
    ratios = {name: both["all cores"] / both["one thread"] for name, both in seconds.items()}
    return {
        "ratio": max(ratios.values()),
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
        "same": float(all(many[name][1] == one[name][1] for many, one in found for name in names)),
        "seconds": seconds,
    }


def in_own_process(case: ThreadsCase, threads: int | None) -> Measured:
    """Measure every method in a process with so many threads; None: as many as the libraries choose."""
    settings = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    settings |= {} if threads is None else dict.fromkeys(SETTINGS, str(threads))
    words = [
        sys.executable,
        "-m",
        "benchmarks.threads",
        json.dumps({k: v for k, v in asdict(case).items() if k != "thresholds"}),
    ]
    done = subprocess.run(words, env=settings, stdout=subprocess.PIPE, text=True, check=True)
    return {name: (seconds, picks) for name, (seconds, picks) in json.loads(done.stdout).items()}


def here(case: ThreadsCase) -> Measured:
    """Measure every method in this process."""
    x = mixture(case.pool, case.width, case.clusters, case.seed)
    task = Task.from_arrays(features=x, gradients=x)
    ways: dict[str, Callable[[], list[int]]] = {"greedy": lambda: moving(x, case)}
    for name, selector in METHODS.items():
        ways[name] = lambda selector=selector: np.asarray(
            select(task, selector, case.budget, case.seed).indices
        ).tolist()
    found: dict[str, tuple[float, list[int]]] = {}
    for name, way in ways.items():
        best, picks = float("inf"), []
        for _ in range(RUNS):
            start = time.perf_counter()
            picks = way()
            best = min(best, time.perf_counter() - start)
        found[name] = best, picks
    return found


def moving(x: np.ndarray, case: ThreadsCase) -> list[int]:
    """Pick by Algorithm 1 of RCS with rows x, for an objective whose query moves at every pick."""
    target = torch.from_numpy(x.mean(0)) * 2 * case.budget * ETA
    return greedy_towards(target, x, by="auto", eta=ETA, picks=case.budget)[0]


if __name__ == "__main__":
    print(json.dumps(here(ThreadsCase(**json.loads(sys.argv[1])))))

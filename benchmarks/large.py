"""One `select` on memory-mapped features of ImageNet's width: seconds, processor seconds and memory beside the file."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case_types import LargeCase
from benchmarks.meter import Meter
from coreselect import Task, get_selector, select

ROWS = 10_000  # that are made at once


def run(case: LargeCase, *, work: Path) -> dict[str, Any]:
    """Measure one case; the features are written to a file first, and deleted afterwards."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / f"features-{case.pool}x{case.width}-{os.getpid()}.npy"
    try:
        write(path, case)
        x = np.load(path, mmap_mode="r")
        with Meter() as meter, meter("select"):
            chosen = select(Task.from_arrays(features=x), get_selector(case.selector), case.budget, 0)
    finally:
        path.unlink(missing_ok=True)
    return {**meter.record(), "by_part": {k: round(v, 2) for k, v in chosen.provenance.seconds.items()}}


def write(path: Path, case: LargeCase) -> None:
    """Write features as `points.mixture` makes them, block by block."""
    rng = np.random.default_rng(case.seed)
    centres = rng.standard_normal((case.clusters, case.width), np.float32)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=case.dtype, shape=(case.pool, case.width))
    for at in range(0, case.pool, ROWS):
        n = min(ROWS, case.pool - at)
        out[at : at + n] = centres[rng.integers(case.clusters, size=n)] + rng.standard_normal(
            (n, case.width), np.float32
        )
    out.flush()

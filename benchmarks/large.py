"""One `select` on memory-mapped features of ImageNet's width: seconds, processor seconds and memory beside the file."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.case_types import LargeCase
from benchmarks.meter import Meter
from coreselect import Task, get_selector, plan, select
from coreselect.errors import RequirementError

ROWS = 10_000  # that are made at once


def run(case: LargeCase, *, work: Path) -> dict[str, Any]:
    """Measure one case; the features are written to a file first, and deleted afterwards. The plan is made before.

    Raises:
        RequirementError: the method refuses, and the case does not say so.
        RuntimeError: the case says that the method refuses, and it does not.
    """
    work.mkdir(parents=True, exist_ok=True)
    path = work / f"features-{case.pool}x{case.width}-{os.getpid()}.npy"
    try:
        write(path, case)
        x = np.load(path, mmap_mode="r")
        task, selector = Task.from_arrays(features=x), get_selector(case.selector)
        told = plan(task, selector, case.budget)
        planned = {
            "products": told.products, "read_gib": told.read / 2**30, "own_gib": told.total_bytes / 2**30,
            "seconds": told.total_seconds,
        }  # fmt: skip
        with Meter() as meter, meter("select"):
            made = refusal(task, selector, case) if case.refused else select(task, selector, case.budget, 0)
    finally:
        path.unlink(missing_ok=True)
    if isinstance(made, str):
        return {**meter.record(), "planned": planned, "refused": 1.0, "sentence": made}
    by_part = {k: round(v, 2) for k, v in made.provenance.seconds.items()}
    return {**meter.record(), "planned": planned, "by_part": by_part}


def refusal(task: Any, selector: Any, case: LargeCase) -> str:
    """Return the sentence by which a method refuses.

    Raises:
        RuntimeError: it does not refuse.
    """
    try:
        select(task, selector, case.budget, 0)
    except RequirementError as why:
        return str(why)
    raise RuntimeError(
        f"{case.selector} was to refuse {case.budget:,} of {case.pool:,} examples, and it has chosen them."
    )


def write(path: Path, case: LargeCase) -> None:
    """Write features as `points.mixture` makes them, block by block."""
    rng = np.random.default_rng(case.seed)
    centres = rng.standard_normal((case.clusters, case.width), np.float32)
    out = np.lib.format.open_memmap(path, mode="w+", dtype=case.dtype, shape=(case.pool, case.width))
    if case.refused:
        return  # zeros take no space, and nobody computes with them
    for at in range(0, case.pool, ROWS):
        n = min(ROWS, case.pool - at)
        out[at : at + n] = centres[rng.integers(case.clusters, size=n)] + rng.standard_normal(
            (n, case.width), np.float32
        )
    out.flush()

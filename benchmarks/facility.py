"""Facility location compared with apricot and submodlib: time, memory and f of the picks.

Every side runs in its own process (`sides.py`) with one thread and the same features. All sides run in turn, `rounds` times,
with the order reversed every other time. The seconds of a side are the median over rounds, as the side counts them. Its
memory is the largest peak above the memory before the selection, measured from this process. `points.coverage` evaluates f
of all picks.

The measured form is the default of `FacilityLocation()` at that size. The rivals are those that hold a matrix; apricot with a
neighbour graph is measured too, but not compared.
"""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import sides
from benchmarks.case_types import FacilityCase
from benchmarks.meter import Meter
from benchmarks.points import coverage, mixture
from coreselect.errors import MissingExtraError

OURS = ("graph", "dense")
RIVALS = ("apricot", "submodlib", "submodlib_kernel")
BESIDE = ("apricot_graph",)
HOW = (
    "give --rivals PYTHON (or CORESELECT_RIVALS), an interpreter that has them: python -m venv DIR; DIR/bin/python -m pip install "
    "apricot-select==0.6.1 submodlib-py==0.0.3; see benchmarks/README.md"
)
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA", "NUMEXPR", "VECLIB_MAXIMUM")}


@dataclass(frozen=True)
class Run:
    """The result of one run of a side; peak in bytes."""

    picks: list[int]
    seconds: float
    cpu_seconds: float
    peak: int
    version: str


def run(case: FacilityCase, *, rivals: str | None, work: Path) -> dict[str, Any]:
    """Measure one case: `ratio` is the fastest rival's seconds / ours.

    Raises:
        MissingExtraError: there is no interpreter that has the rivals; the message says how to make one.
    """
    rivals = given(rivals)
    work.mkdir(parents=True, exist_ok=True)
    path = work / f"features-{case.pool}x{case.width}-{os.getpid()}.npy"
    x = mixture(case.pool, case.width, case.clusters, case.seed)
    np.save(path, x)
    try:
        names = [*RIVALS, *BESIDE, *OURS]  # those that may be missing come first
        rounds = []
        for turn in range(case.rounds):
            order = names if turn % 2 == 0 else names[::-1]
            rounds.append({name: one(name, path, case.budget, rivals) for name in order})
    finally:
        path.unlink(missing_ok=True)
    objective = {name: coverage(x, rounds[0][name].picks) for name in names}
    return compare(case, rounds, objective)


def compare(case: FacilityCase, rounds: list[dict[str, Run]], objective: dict[str, float]) -> dict[str, Any]:
    """Compare the sides: measures of the case's form, and in `forms` the same measures of both forms."""
    names = list(objective)
    seconds = {name: median(r[name].seconds for r in rounds) for name in names}
    cpu = {name: median(r[name].cpu_seconds for r in rounds) for name in names}
    peak = {name: max(r[name].peak for r in rounds) for name in names}

    def held(ours: str) -> dict[str, float]:
        return {
            "ratio": min(seconds[r] for r in RIVALS) / seconds[ours],
            "cpu_ratio": min(cpu[r] for r in RIVALS) / cpu[ours],
            "objective_ratio": objective[ours] / max(objective[r] for r in RIVALS),
            "memory_share": peak[ours] / min(peak[r] for r in RIVALS),
        }

    return {
        **held(case.form),
        "forms": {ours: held(ours) for ours in OURS},
        "ratio_by_round": [round(min(r[rival].seconds for rival in RIVALS) / r[case.form].seconds, 4) for r in rounds],
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "cpu_seconds": {name: round(value, 4) for name, value in cpu.items()},
        "peak_mib": {name: round(value / (1 << 20), 1) for name, value in peak.items()},
        "objective": objective,
        "versions": {name: rounds[0][name].version for name in names},
    }


def given(rivals: str | None) -> str:
    """Return the interpreter of the rivals.

    Raises:
        MissingExtraError: none was given.
    """
    if not rivals:
        raise MissingExtraError(f"neither apricot nor submodlib is there to compare with: {HOW}.")
    return rivals


def one(name: str, features: Path, k: int, rivals: str) -> Run:
    """Run one side in its own process.

    Raises:
        MissingExtraError: the rivals' interpreter does not start or does not have them.
        RuntimeError: the side ended without an answer; the message is its last line.
    """
    start = [sys.executable, "-m", "benchmarks.sides"] if name in OURS else [rivals, "-I", sides.__file__]
    with tempfile.TemporaryFile("w+") as talk:
        try:
            process = subprocess.Popen(
                [*start, name, str(features), str(k)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=talk,
                text=True, env={**os.environ, **ONE_THREAD},
            )  # fmt: skip
        except OSError as why:
            raise MissingExtraError(f"the rivals' interpreter does not start ({why.strerror}): {HOW}.") from why
        with process:
            assert process.stdin is not None  # both are pipes
            assert process.stdout is not None
            ready = process.stdout.readline()
            if not ready:
                process.wait()
                talk.seek(0)
                last = (talk.read().strip().splitlines() or ["nothing was said"])[-1]
                if "ModuleNotFoundError" in last and name not in OURS:
                    raise MissingExtraError(f"the rivals' interpreter says {last!r}: {HOW}.")
                raise RuntimeError(f"{name} did not start: {last}")
            with Meter(memory=lambda: held_by(process.pid)) as meter, meter(name):
                with suppress(
                    BrokenPipeError
                ):  # the process has ended; no data stays in a buffer that closing would flush
                    os.write(process.stdin.fileno(), b"go\n")
                answer = process.stdout.readline()
            if not answer:
                raise RuntimeError(f"{name} ended with {process.wait()} and no answer")
            said = json.loads(answer)
            return Run(said["picks"], said["seconds"], said["cpu_seconds"], meter.peak[name], said["version"])


def held_by(process: int) -> int:
    """Return the memory of another process, as `meter.held_bytes` does for this one; 0 if the process has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in lines if line.startswith("Rss"))
    return sum(int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem") if name in fields)

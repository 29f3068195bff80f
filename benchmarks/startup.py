"""Processor seconds until the command line answers: `--help`, `--version`, `methods`, `select --help`, and the import alone.

Each is a child process of its own, from its start to its end. The operating system counts its processor seconds, user and
system. Of several runs the smallest counts: other work on the machine only adds.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from benchmarks.case_types import StartupCase

COMMANDS: dict[str, tuple[str, ...]] = {
    "import": ("-c", "import coreselect"),
    "version": ("-m", "coreselect", "--version"),
    "help": ("-m", "coreselect", "--help"),
    "methods": ("-m", "coreselect", "methods"),
    "select_help": ("-m", "coreselect", "select", "--help"),
}
NOTHING = ("-c", "pass")


def run(case: StartupCase, cpu: Callable[[Sequence[str]], float] | None = None) -> dict[str, Any]:
    """Measure one case.

    Args:
        case: how often each command is run, after a first run that writes Python's caches and does not count.
        cpu: returns the processor seconds of Python with these words; None runs it.
    """
    cpu = cpu or cpu_seconds
    seconds: dict[str, list[float]] = {}
    for name, words in {"python": NOTHING, **COMMANDS}.items():
        seconds[name] = [cpu(words) for _ in range(1 + case.runs)][1:]
    return {
        "cpu_seconds": {name: round(min(found), 4) for name, found in seconds.items()},
        "median_cpu_seconds": {name: round(median(found), 4) for name, found in seconds.items()},
    }


def cpu_seconds(words: Sequence[str]) -> float:
    """Run Python with these words, and return its processor seconds.

    Raises:
        RuntimeError: it does not end with 0.
    """
    import resource  # not on Windows

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"python {' '.join(words)} ended with {done.returncode}: {done.stderr[-300:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

"""The clock, the memory meter and the record of the environment that every case uses.

Two pieces of work are compared by letting them take turns within one run (`Alongside`), so that whatever else a machine is
doing hits both alike; each one's seconds are added up under its own name and their ratio is the result.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import torch

MIB = 1 << 20
T = TypeVar("T")
_STATUS = Path("/proc/self/status")
MEMORY_COUNTED = "RssAnon + RssShmem" if _STATUS.is_file() else "peak RSS"


def held_bytes() -> int:
    """Return the memory that is this process's own: pages of mapped files, which the system may drop, are not counted.

    Where the system does not tell them apart, the peak of everything resident.
    """
    if _STATUS.is_file():
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if line.startswith("Rss"))
        return sum(int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem") if name in fields)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def give_back() -> None:
    """Collect garbage and let the allocator return what is free, so that a baseline is what is really held."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class Meter:
    """Add up seconds, processor seconds and the peak of memory above the start, under names.

        with Meter() as meter:
            with meter("ours"):
                ...
                with meter("theirs"):  # taken out of "ours"

    Args:
        clock: seconds of a wall clock.
        cpu: seconds of processor time of this process.
        memory: bytes held now.
        every: seconds between samples of memory by a thread; None: only where a part begins and ends.

    The memory of a part is counted above what was held when the meter was entered, so it includes what other parts hold
    at that time.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.process_time,
        memory: Callable[[], int] = held_bytes,
        every: float | None = 0.005,
    ) -> None:
        self.seconds: dict[str, float] = {}
        self.cpu_seconds: dict[str, float] = {}
        self.peak: dict[str, int] = {}
        self._clock, self._cpu, self._memory, self._every = clock, cpu, memory, every
        self._open: list[str] = []
        self._since = self._cpu_since = 0.0
        self._base = 0
        self._stop = threading.Event()
        self._sampler: threading.Thread | None = None

    def __enter__(self) -> Self:
        give_back()
        self._base = self._memory()
        if self._every is not None:
            self._sampler = threading.Thread(target=self._sample_on, args=(self._every,), daemon=True)
            self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._sampler is not None:
            self._sampler.join()

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count what happens inside under that name, and no longer under the name outside."""
        self._settle()
        self._open.append(part)
        self._sample()
        try:
            yield
        finally:
            self._settle()
            self._open.pop()
            self._sample()

    def record(self) -> dict[str, Any]:
        """Return seconds, processor seconds and peaks in MiB, by part."""
        return {
            "seconds": {k: round(v, 4) for k, v in self.seconds.items()},
            "cpu_seconds": {k: round(v, 4) for k, v in self.cpu_seconds.items()},
            "peak_mib": {k: round(v / MIB, 1) for k, v in self.peak.items()},
        }

    def _settle(self) -> None:
        now, cpu = self._clock(), self._cpu()
        if self._open:
            part = self._open[-1]
            self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
            self.cpu_seconds[part] = self.cpu_seconds.get(part, 0.0) + cpu - self._cpu_since
            self._sample()
        self._since, self._cpu_since = now, cpu

    def _sample(self) -> None:
        if self._open:
            part = self._open[-1]
            self.peak[part] = max(self.peak.get(part, 0), self._memory() - self._base)

    def _sample_on(self, every: float) -> None:
        while not self._stop.wait(every):
            with suppress(IndexError):  # the part may close between two looks
                self._sample()


class Alongside(Generic[T]):
    """Work that takes its turns inside other work.

    Args:
        steps: does a slice of the work at each `next`, yields the share done so far (0 to 1) and returns the result. The
            share decides whose turn it is, never what is measured.
        meter, part: where its time is counted.
    """

    def __init__(self, steps: Generator[float, None, T], meter: Meter, part: str) -> None:
        self._steps, self._meter, self._part = steps, meter, part
        self._done = 0.0
        self._result: list[T] = []

    def until(self, share: float) -> None:
        """Work on until that share is done."""
        with self._meter(self._part):
            while self._done < share and not self._result:
                try:
                    self._done = next(self._steps)
                except StopIteration as end:
                    self._result.append(end.value)

    def finish(self) -> T:
        """Work on to the end and return the result."""
        self.until(float("inf"))
        return self._result[0]


def take_turns(sides: dict[str, Iterator[Any]], meter: Meter) -> None:
    """Advance several iterators in turn until all are used up, each one's time under its name, in the order given."""
    live = dict(sides)
    while live:
        for name, work in list(live.items()):
            with meter(name):
                over = next(work, _OVER) is _OVER
            if over:
                del live[name]


_OVER = object()


def environment() -> dict[str, Any]:
    """Describe what the numbers depend on: versions, processor, threads, load; no names of hosts, users or folders."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in ("coreselect", "torch", "numpy", "faiss-cpu", "faiss-gpu")},
        },
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_counted": MEMORY_COUNTED,
    }


def load() -> float | None:
    """Return how many processes wanted to run over the last minute, where the system tells."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", ":/coreselect", ":/integrations", ":/benchmarks/*.py")
        return git("rev-parse", "--short=12", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None  # not a checkout


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()

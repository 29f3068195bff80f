"""The meter of seconds and memory that every case uses, and work in turns for fair comparisons.

Two pieces of work are compared by taking turns within one run (`Interleaved`), so other work on the machine slows both
equally. The seconds of each are added up under its own name, and their ratio is the result.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import torch

MIB = 1 << 20
T = TypeVar("T")
_STATUS = Path("/proc/self/status")
MEMORY_COUNTED = "RssAnon + RssShmem" if _STATUS.is_file() else "peak RSS"


def held_bytes() -> int:
    """Return the memory that belongs to this process, without pages of mapped files, which the system may drop.

    If the system does not separate them, return the peak of all resident memory.
    """
    if _STATUS.is_file():
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines() if line.startswith("Rss"))
        return sum(int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem") if name in fields)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def clock_of(device: torch.device) -> Callable[[], float]:
    """Return a wall clock that waits for the work of a GPU, so that seconds belong to the part that asked for the work."""

    def synchronised() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return synchronised if device.type == "cuda" else time.perf_counter


def free_memory() -> None:
    """Collect garbage and return free memory to the system, so that a baseline is the memory in use."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class Meter:
    """Add up seconds, processor seconds and the peak of memory above the start, for named parts.

        with Meter() as meter:
            with meter("ours"):
                ...
                with meter("theirs"):  # not counted in "ours"

    Args:
        clock: seconds of a wall clock.
        cpu: seconds of processor time of this process.
        memory: bytes in use now.
        every: seconds between samples of memory by a thread; None samples only when a part begins or ends.

    The memory of a part is counted above the memory at the start of the meter, so it includes memory of other parts.
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
        free_memory()
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
        """Count the time inside for this part, and not for the part around it."""
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
            with suppress(IndexError):  # the part may end between the check and the sample
                self._sample()


class Interleaved(Generic[T]):
    """Work that takes turns with other work.

    Args:
        steps: does a slice of the work at each `next`, yields the share done so far (0 to 1) and returns the result. The
            share decides the turns only, not the measured time.
        meter, part: count its time.
    """

    def __init__(self, steps: Generator[float, None, T], meter: Meter, part: str) -> None:
        self._steps, self._meter, self._part = steps, meter, part
        self._done = 0.0
        self._result: list[T] = []

    def until(self, share: float) -> None:
        """Work until this share is done."""
        with self._meter(self._part):
            while self._done < share and not self._result:
                try:
                    self._done = next(self._steps)
                except StopIteration as end:
                    self._result.append(end.value)

    def finish(self) -> T:
        """Work to the end and return the result."""
        self.until(float("inf"))
        return self._result[0]


def take_turns(sides: dict[str, Iterator[Any]], meter: Meter) -> None:
    """Advance several iterators in turn, in the given order, until all end; count the time of each under its name."""
    live = dict(sides)
    while live:
        for name, work in list(live.items()):
            with meter(name):
                over = next(work, _OVER) is _OVER
            if over:
                del live[name]


_OVER = object()

"""The clock that measures the seconds of each part of a selection."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

HELD = 4096  # spans on a GPU that are read at once


class Clock:
    """The sums of wall-clock seconds of named parts.

    Parts may be nested: the time of an inner part does not count for the outer part. On a GPU, the ends of a part are marked
    in the stream of work by events, which are read when `seconds` is; so the clock does not make the host wait.

    Args:
        device: the device whose work is measured; None: the host's.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._seconds: dict[str, float] = {}
        self._device = device if device is not None and device.type == "cuda" else None
        self._open: list[str] = []
        self._since: Any = 0.0  # seconds of the host, or an event
        self._spans: list[tuple[str, Any, Any]] = []  # (part, event, event), not yet read

    @property
    def seconds(self) -> dict[str, float]:
        """The seconds of each part so far; on a GPU, reading them waits for its work."""
        if self._spans:
            self._spans[-1][2].synchronize()
        for part, start, end in self._spans:
            self._seconds[part] = self._seconds.get(part, 0.0) + start.elapsed_time(end) / 1000
        self._spans.clear()
        return self._seconds

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Measure the block as `part`."""
        self._add_time()
        self._open.append(part)
        try:
            yield
        finally:
            self._add_time()
            self._open.pop()

    def _add_time(self) -> None:
        now = time.perf_counter() if self._device is None else self._marked(self._device)
        if self._open:
            part = self._open[-1]
            if self._device is None:
                self._seconds[part] = self._seconds.get(part, 0.0) + now - self._since
            else:
                self._spans.append((part, self._since, now))
        self._since = now
        if len(self._spans) >= HELD:
            _ = self.seconds

    @staticmethod
    def _marked(device: torch.device) -> Any:
        """Return an event in the stream of work of the device."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(device))
        return event

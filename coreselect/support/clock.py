"""The clock that measures the seconds of each part of a selection."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """The sums of wall-clock seconds of named parts; a GPU is synchronised at the start and at the end of each part.

    Parts may be nested: the time of an inner part does not count for the outer part.

    Args:
        device: the device to synchronise; None: no device.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device
        self._open: list[str] = []
        self._since = 0.0

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
        if self._device is not None and self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        if self._open:
            part = self._open[-1]
            self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self._since = now

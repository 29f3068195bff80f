"""Seconds by part: where a selection's time went."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Add up wall-clock seconds under names; accelerators are waited for at the edges of a part.

    Parts may nest: the inner part's time is counted as its own and not the outer's.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device
        self._open: list[str] = []
        self._since = 0.0

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        self._settle()
        self._open.append(part)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def _settle(self) -> None:
        if self._device is not None and self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        if self._open:
            part = self._open[-1]
            self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self._since = now

"""Checks of values on a device, collected and settled together: a check at every batch would make the host wait for it.

Inside `LateChecks.collecting()`, a check of values on a device is kept with the values. `settle` copies all of them to the
host at once and runs the checks in their order; so an error comes later, and is the same. Values on the CPU are checked at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

EVERY = 64  # batches between two settlements

Check = Callable[[Tensor], None]  # values on the CPU; raises an error for wrong ones
_collector: ContextVar["LateChecks | None"] = ContextVar("collector of checks", default=None)


class LateChecks:
    """The checks of a sweep or an epoch."""

    def __init__(self) -> None:
        self._held: list[tuple[Tensor, Check]] = []
        self._batches = 0

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Keep the checks of values on a device that are made inside the block."""
        token = _collector.set(self)
        try:
            yield
        finally:
            _collector.reset(token)

    def batch_done(self, *, last: bool = False) -> None:
        """Count a batch, and settle the checks after every `EVERY` batches and after the last one."""
        self._batches += 1
        if last or self._batches % EVERY == 0:
            self.settle()

    def settle(self) -> None:
        """Run the checks that are held."""
        held, self._held = self._held, []
        for value, (_, check) in zip(on_host([v for v, _ in held]), held, strict=True):
            check(value)

    def hold(self, values: Tensor, check: Check) -> None:
        """Keep one check."""
        self._held.append((values.detach(), check))


def check_late(values: Tensor, check: Check) -> None:
    """Check values of any shape: later if they are on a device and checks are collected, else now.

    Args:
        values: small, such as one flag for each example.
        check: gets them on the CPU, and raises an error for wrong ones.
    """
    collector = _collector.get()
    if values.device.type == "cpu" or collector is None:
        check(values.cpu())
    else:
        collector.hold(values, check)


def on_host(values: list[Tensor]) -> list[Tensor]:
    """Copy tensors to the CPU, all of one kind and device in a single copy."""
    kinds: dict[tuple[torch.dtype, torch.device], list[int]] = {}
    for i, t in enumerate(values):
        kinds.setdefault((t.dtype, t.device), []).append(i)
    out = list(values)
    for places in kinds.values():
        flat = torch.cat([values[i].reshape(-1) for i in places]).cpu()
        for i, part in zip(places, flat.split([values[i].numel() for i in places]), strict=True):
            out[i] = part.view(values[i].shape)
    return out

"""Sums over an epoch of numbers that stay where they are computed, so that the host waits once, when the epoch ends."""

from collections.abc import Callable
from time import perf_counter

import torch
from torch import Tensor

from coreselect.support.late_checks import LateChecks, check_late
from coreselect_integrations.training.epoch_log import EpochLog


class Totals:
    """The mean loss, the correct answers and the examples of one epoch, and what has to be checked or recorded of its batches.

    Use `checks.collecting()` around the work of a batch, and `batch_done` after it.
    """

    def __init__(self) -> None:
        self.checks = LateChecks()
        self._start, self._sizes = perf_counter(), list[int]()
        self._losses, self._correct = list[Tensor](), list[Tensor]()

    def record(self, values: Tensor, what: Callable[[Tensor], None]) -> None:
        """Call `what` with the values of a batch on the CPU; from a device they come later, those of many batches together."""
        check_late(values.detach(), what)

    def batch_done(self, mean: Tensor, size: int, correct: Tensor | None = None) -> None:
        """Add a batch: its mean loss, its size, and how many answers were correct (scalars on any device)."""
        self._losses.append(mean.detach())
        self._sizes.append(size)
        if correct is not None:
            self._correct.append(correct)
        self.checks.batch_done()

    def log(self, *, answers: bool) -> EpochLog:
        """End the epoch; an accuracy is given if there are answers."""
        self.checks.settle()
        examples, losses = sum(self._sizes), torch.stack(self._losses).tolist() if self._losses else []
        loss_sum = 0.0
        for loss, size in zip(losses, self._sizes, strict=True):
            loss_sum += loss * size
        correct = sum(torch.stack(self._correct).tolist()) if self._correct else 0
        n = max(1, examples)
        return EpochLog(loss_sum / n, correct / n if answers else None, examples, perf_counter() - self._start)

"""Learning rates over a run, as a curve over the epochs that have passed: lr(e, i) = lr₀ · c(e + (i + ½) / n).

e is the epoch, counted from 0; i is the update within the epoch; n is the number of updates in this epoch. An epoch on a
coreset has fewer updates than an epoch on the whole pool, and the curve is right for both. The curve is read at the middle
of each update, so no update uses a rate of zero at the start or the end. One object serves a whole run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from coreselect.errors import ScheduleError

Curve = Callable[[float], float]  # epochs that have passed, in [0, E] → factor of the largest rate


class Scheduler(Protocol):
    """What a training loop needs from a schedule; torch's `LRScheduler` has it too."""

    def step(self) -> Any:
        """Go to the next update."""
        ...


class Schedule:
    """Set the learning rates of an optimiser along a curve.

    Args:
        optimizer: its current rates are the largest rates lr₀, one for each parameter group.
        curve: c, over the epochs that have passed.

    Call `set_epoch` at the start of every epoch, and `step` after every update.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, curve: Curve) -> None:
        self.optimizer, self.curve = optimizer, curve
        self.peaks = [float(group["lr"]) for group in optimizer.param_groups]
        self.epoch, self.updates, self.done = 0, 0, 0

    def set_epoch(self, epoch: int, updates: int) -> None:
        """Begin epoch `epoch` ≥ 0, which has `updates` ≥ 1 updates.

        Raises:
            ScheduleError: either is out of range.
        """
        if epoch < 0 or updates < 1:
            why = f"a schedule needs an epoch ≥ 0 with at least one update, got epoch {epoch} with {updates}."
            raise ScheduleError(why)
        self.epoch, self.updates, self.done = epoch, updates, 0
        self._set()

    def step(self) -> None:
        """Go to the next update.

        Raises:
            ScheduleError: the epoch has not begun, or all its updates are done.
        """
        if self.done >= self.updates:
            why = (
                f"all {self.updates} updates of epoch {self.epoch} are done: step once after each of them, and call "
                "set_epoch(epoch, updates) at the start of every epoch."
            )
            raise ScheduleError(why)
        self.done += 1
        if self.done < self.updates:
            self._set()

    @property
    def rate(self) -> float:
        """The current learning rate of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def _set(self) -> None:
        factor = self.curve(self.epoch + (self.done + 0.5) / self.updates)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor

    def state_dict(self) -> dict[str, Any]:
        """Return the largest rates and the position in the run as plain numbers; the curve is not saved."""
        return {"peaks": list(self.peaks), "epoch": self.epoch, "updates": self.updates, "done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where a run stopped."""
        self.peaks = list(state["peaks"])
        self.epoch, self.updates, self.done = state["epoch"], state["updates"], state["done"]


def constant() -> Curve:
    """Return c(t) = 1."""
    return lambda t: 1.0


def cosine(epochs: int, warmup: int = 0, floor: float = 0.0) -> Curve:
    """Return a curve that rises linearly for w = `warmup` epochs, then falls as a half cosine to `floor` at E = `epochs`.

    c(t) = t / w for t < w, else floor + (1 − floor) · ½ (1 + cos(π (t − w) / (E − w))).

    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, without restarts;
    the warm-up is that of Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017.
    """

    def factor(t: float) -> float:
        if t < warmup:
            return t / warmup
        passed = (t - warmup) / max(epochs - warmup, 1)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(passed, 1.0)))

    return factor


def triangle(epochs: int, rise: float = 0.5) -> Curve:
    """Return a curve that rises linearly over the share `rise` in (0, 1) of `epochs`, published ½, then falls to zero.

    Source: the cyclic schedule of Wong et al., "Fast is better than free: Revisiting adversarial training", ICLR 2020.
    """
    return lambda t: max(0.0, min(t / (rise * epochs), (epochs - t) / ((1 - rise) * epochs)))


def stairs(milestones: Sequence[int], gamma: float = 0.1) -> Curve:
    """Return c(t) = γ^(number of milestones m ≤ t), milestones in epochs."""
    return lambda t: gamma ** sum(t >= m for m in milestones)

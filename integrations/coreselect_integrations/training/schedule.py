"""A learning rate over a run, as a curve of the epochs gone: lr(e, i) = lr₀ · c(e + (i + ½) / n).

e counts epochs from 0, i the updates within it, n is how many updates this epoch has: a coreset's epoch is shorter than
a full one, and the curve is right for both. It is read at the middle of each update, so that no update is made at the
zero it starts or ends with. One object serves the whole run and is never rebuilt.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch

from coreselect.errors import ScheduleError

Curve = Callable[[float], float]  # epochs gone, in [0, E] → factor of the peak rate


class Steps(Protocol):
    """What a training loop asks of a schedule; torch's `LRScheduler` has it too."""

    def step(self) -> Any:
        """Move on by one update."""
        ...


class Schedule:
    """Set the learning rates of an optimiser along a curve.

    Args:
        optimizer: its present rates are the peaks lr₀, one a parameter group.
        curve: c, of the epochs gone.

    Call `set_epoch` at the start of every epoch, and `step` after every update.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, curve: Curve) -> None:
        self.optimizer, self.curve = optimizer, curve
        self.peaks = [float(group["lr"]) for group in optimizer.param_groups]
        self.epoch, self.updates, self.done = 0, 0, 0

    def set_epoch(self, epoch: int, updates: int) -> None:
        """Begin epoch `epoch` ≥ 0 of `updates` ≥ 1 updates.

        Raises:
            ScheduleError: either is out of range.
        """
        if epoch < 0 or updates < 1:
            why = f"a schedule needs an epoch ≥ 0 of at least one update, got epoch {epoch} of {updates}."
            raise ScheduleError(why)
        self.epoch, self.updates, self.done = epoch, updates, 0
        self._set()

    def step(self) -> None:
        """Move on by one update.

        Raises:
            ScheduleError: the epoch was never begun, or is over.
        """
        if self.done >= self.updates:
            why = (
                f"epoch {self.epoch} was said to have {self.updates} updates and has had them: call set_epoch(epoch, "
                "updates) at the start of every epoch."
            )
            raise ScheduleError(why)
        self.done += 1
        if self.done < self.updates:
            self._set()

    @property
    def rate(self) -> float:
        """The present learning rate of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    def _set(self) -> None:
        factor = self.curve(self.epoch + (self.done + 0.5) / self.updates)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor

    def state_dict(self) -> dict[str, Any]:
        """Return the peaks and the place in the run, in plain numbers; the curve is the caller's to give again."""
        return {"peaks": list(self.peaks), "epoch": self.epoch, "updates": self.updates, "done": self.done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a run stopped."""
        self.peaks = list(state["peaks"])
        self.epoch, self.updates, self.done = state["epoch"], state["updates"], state["done"]


def constant() -> Curve:
    """Return c(t) = 1."""
    return lambda t: 1.0


def cosine(epochs: int, warmup: int = 0, floor: float = 0.0) -> Curve:
    """Return a linear rise over the first w = `warmup` epochs, then a half cosine down to `floor` at E = `epochs`.

    c(t) = t / w for t < w, else floor + (1 − floor) · ½ (1 + cos(π (t − w) / (E − w))).

    Source: Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, without restarts;
    the warm-up of Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour", 2017.
    """

    def factor(t: float) -> float:
        if t < warmup:
            return t / warmup
        gone = (t - warmup) / max(epochs - warmup, 1)
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(gone, 1.0)))

    return factor


def triangle(epochs: int, rise: float = 0.5) -> Curve:
    """Return a linear rise over the first share `rise` in (0, 1) of `epochs`, published ½, then a linear fall to zero.

    Source: the cyclic schedule of Wong et al., "Fast is better than free: Revisiting adversarial training", ICLR 2020.
    """
    return lambda t: max(0.0, min(t / (rise * epochs), (epochs - t) / ((1 - rise) * epochs)))


def stairs(milestones: Sequence[int], gamma: float = 0.1) -> Curve:
    """Return c(t) = γ^(number of milestones m ≤ t), milestones in epochs."""
    return lambda t: gamma ** sum(t >= m for m in milestones)

"""A learning rate that is halved when held-out data stops improving; training then returns to the best weights.

f_e is the value after epoch e, w_0 = 0 < w_1 < … the checkpoints. At epoch w_j the rate is halved if
    Σ_{e = w_{j−1} + 1 … w_j} 1[f_e > f_{e−1}] < ρ·(w_j − w_{j−1})                    it rose too rarely, or
    it was not halved at w_{j−1}, and max_{e ≤ w_j} f_e = max_{e ≤ w_{j−1}} f_e       it found no better value,
and training continues from the weights with the largest f so far, with new momentum.

Source: the step size of Auto-PGD, Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of
diverse parameter-free attacks", ICML 2020, section 3.1; AutoLoRa (`autolora.py`) uses it for learning rates.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from coreselect.errors import NonFiniteError, ScheduleError

PUBLISHED = (16, 24, 28, 36, 40, 42, 44, 46, 48, 50)  # of 50 epochs


def checkpoints(epochs: int) -> tuple[int, ...]:
    """Return the published checkpoints w_1 < w_2 < … of 50 epochs, scaled to a run of `epochs` ≥ 0."""
    return tuple(sorted({round(w * epochs / 50) for w in PUBLISHED} - {0}))


class AutoRate:
    """Set the learning rate of an optimiser, as described above.

    Args:
        model: its whole state is kept when f is largest, and restored when the rate is halved.
        optimizer: of the model's parameters; the current rate of its first group is the first rate of all groups.
        checkpoints: w_1 < w_2 < …, epochs ≥ 1.
        rho: ρ in [0, 1]; published 0.75.
    Raises:
        ScheduleError: the checkpoints are not increasing numbers from 1 on, or ρ is out of range.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, checkpoints: Sequence[int], *, rho: float = 0.75
    ) -> None:
        if any(b <= a for a, b in pairwise((0, *checkpoints))) or not 0 <= rho <= 1:
            why = f"checkpoints must be increasing epochs from 1 on and rho in [0, 1], got {tuple(checkpoints)} and {rho!r}."
            raise ScheduleError(why)
        self.model, self.optimizer, self.checkpoints, self.rho = model, optimizer, tuple(checkpoints), rho
        self.rate = float(optimizer.param_groups[0]["lr"])
        self.values: list[float] = []  # f_1 … f_e
        self.best, self.before = float("-inf"), float("-inf")  # now, and at the last checkpoint
        self.halved = False  # at the last checkpoint
        self.kept: dict[str, Tensor] = {}

    def update(self, value: float) -> bool:
        """End an epoch with value f_e, and return whether the rate was halved; the first value counts as a rise.

        Raises:
            NonFiniteError: the value is NaN or infinite.
        """
        if not abs(value) < float("inf"):
            why = f"the value of epoch {len(self.values) + 1} is {value}, but a finite number is needed: lower the learning rate."
            raise NonFiniteError(why)
        self.values.append(float(value))
        if value > self.best:
            self.best = float(value)
            self.kept = {name: t.detach().clone() for name, t in self.model.state_dict().items()}
        e = len(self.values)
        if e not in self.checkpoints:
            return False
        last = max(w for w in (0, *self.checkpoints) if w < e)
        f = [float("-inf"), *self.values]  # f_0 … f_e
        rises = sum(f[i] > f[i - 1] for i in range(last + 1, e + 1))
        self.halved = rises < self.rho * (e - last) or (not self.halved and self.best == self.before)
        self.before = self.best
        if self.halved:
            self.rate /= 2
            self.restore()
            self.optimizer.state.clear()
            for group in self.optimizer.param_groups:
                group["lr"] = self.rate
        return self.halved

    def restore(self) -> None:
        """Load the weights with the largest f so far into the model; before the first epoch, do nothing."""
        if self.kept:
            self.model.load_state_dict(self.kept)

    def state_dict(self) -> dict[str, Any]:
        """Return the values so far and the kept weights; model and optimiser have their own states."""
        names = ("rate", "values", "best", "before", "halved", "kept")
        return {n: getattr(self, n) for n in names} | {"values": list(self.values), "kept": dict(self.kept)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where a run stopped."""
        self.rate, self.best, self.before, self.halved = (state[n] for n in ("rate", "best", "before", "halved"))
        self.values, self.kept = list(state["values"]), dict(state["kept"])

"""What a set of examples is worth: G(S) = −L(U; θ − η Σ_{m ∈ S} r_m), validation attacked anew at the stepped parameters.

Every value starts its attack at the same points, others than any selection used. A set moves θ as its groups do, each with
weight |B_m| / g, so that all sets of a budget move it alike: methods that pick single examples are dealt into groups of g
in pick order. Weights, scaled to mean 1, multiply the examples' gradients, or their mean a group's where the loss is of a
whole batch.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect import Selection
from coreselect.errors import NonFiniteError
from coreselect.objectives import Objective
from coreselect.objectives.on_validation import ValidationObjective
from coreselect.support.seeding import noise, seeds
from coreselect.task.model_snapshot import ModelSnapshot
from coreselect.task.snapshot import Snapshot
from coreselect.task.validation import read_validation
from coreselect.types import Int64

PIECE = 8  # rows of single examples held at once, where weights make them needed


class SetValue:
    """G(S) at one snapshot of a task with a model; the greater, the better.

    Args:
        eta: η of the step. size: g, the examples of a whole group.
    Raises:
        NonFiniteError: outputs at the stepped parameters are not finite.
    """

    def __init__(self, shot: Snapshot, objective: Objective, eta: float, size: int) -> None:
        self.shot, self.eta, self.size = shot, eta, size
        self.held, self.theta = opened(shot, objective), shot.theta()

    def of(self, selection: Selection) -> float:
        """G of a selection, by its own groups where it has any, with its weights."""
        groups = [selection.indices[selection.groups == m] for m in dict.fromkeys(selection.groups.tolist())]
        own = groups if len(groups) < len(selection) else None
        return self.value(selection.indices, selection.weights, own)

    def value(self, picks: Int64, weights: Any = None, groups: Sequence[Int64] | None = None) -> float:
        """G of int64 [k] pool positions, weights float [k] or None, dealt in order unless they have groups."""
        return -after(self.held, self.theta - self.eta * self.step(picks, weights, groups), self.eta)

    def step(self, picks: Int64, weights: Any = None, groups: Sequence[Int64] | None = None) -> Tensor:
        """Σ_m |B_m|/g · r_m [P], r_m a weighted mean over the group."""
        total, share = torch.zeros_like(self.theta), np.ones(self.shot.n)  # [P], [N]
        if weights is not None:
            share[picks] = weights / np.mean(weights)
        parts = list(np.split(picks, range(self.size, len(picks), self.size)) if groups is None else groups)
        if self.shot.batch_loss and len(parts) > 1 and len(parts[-1]) == 1:  # one example is no batch
            parts[-2:] = [np.concatenate(parts[-2:])]
        for group in parts:
            total += len(group) / self.size * self._row(group, share[group]).to(total)
        return total

    def _row(self, group: Int64, weights: NDArray[np.float64]) -> Tensor:
        """The weighted mean row [P] of a group."""
        if self.shot.batch_loss or np.ptp(weights) == 0:
            return float(weights.mean()) * self.shot.rows([group])[0].full(0)
        total = torch.zeros_like(self.theta)
        for at in range(0, len(group), PIECE):
            piece = group[at : at + PIECE]
            rows, _ = self.shot.rows(piece[:, None])  # type: ignore[arg-type]  # it iterates as groups of one
            for i in range(len(piece)):
                total += float(weights[at + i]) / len(group) * rows.full(i).to(total)
        return total


def opened(shot: Snapshot, objective: Objective) -> ValidationObjective:
    """Open an objective on validation so that every crafting starts at the same points, of a draw of this report's own."""
    assert isinstance(shot, ModelSnapshot)  # of a task with a model
    u = read_validation(shot.task, shot.seed, shot.device, shot.dtype, hashed=False)

    def starts(_crafted: int, part: Tensor) -> Tensor:
        own = seeds(shot.seed, "fidelity attack", indices=part.cpu().numpy())
        return noise(u.inputs[part], own)

    return ValidationObjective(
        objective, shot.net, shot.layout(), u.inputs, u.labels, starts, batch=shot.task.batch_size, clock=shot.clock
    )


def after(held: ValidationObjective, there: Tensor, eta: float) -> float:
    """L(U; θ′) attacked anew at θ′ [P], to which steps of η led.

    Raises:
        NonFiniteError: outputs at θ′ are not finite.
    """
    why = f"outputs after the step are not finite: give a smaller eta than {eta:g}."
    try:
        value = held.recrafted_value(there)
    except NonFiniteError as error:
        raise NonFiniteError(why) from error
    if not math.isfinite(value):
        raise NonFiniteError(why)
    return value

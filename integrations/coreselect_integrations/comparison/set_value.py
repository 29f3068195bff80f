"""The value of a set of examples: G(S) = −L(U; θ − η Σ_{m ∈ S} r_m), with a new attack on validation after the step.

All values start the attack at the same points, which no selection has used. A set moves θ by its groups, each with weight
|B_m| / g, so that all sets of one budget make comparable steps. Methods that pick single examples are dealt into groups of g
in pick order. Weights are scaled to mean 1. They multiply the gradients of examples; if the loss belongs to a whole batch,
their mean over a group multiplies the gradient of the group.
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
from coreselect.support.seeding import seeds
from coreselect.task.model_snapshot import ModelSnapshot
from coreselect.task.snapshot import Snapshot
from coreselect.task.validation import read_validation
from coreselect.types import Int64

PIECE = 8  # rows of single examples in memory at once, if weights need them


class SetValue:
    """G(S) at one snapshot of a task with a model; larger is better.

    Args:
        shot: the snapshot.
        objective: L.
        eta: η of the step.
        size: g, the examples in a full group.
    Raises:
        NonFiniteError: outputs at the stepped parameters are not finite.
    """

    def __init__(self, shot: Snapshot, objective: Objective, eta: float, size: int) -> None:
        self.shot, self.eta, self.size = shot, eta, size
        self.held, self.theta = open_objective(shot, objective), shot.theta()

    def of(self, selection: Selection) -> float:
        """Return G of a selection, with its weights and, if it has groups, with its own groups."""
        groups = [selection.indices[selection.groups == m] for m in dict.fromkeys(selection.groups.tolist())]
        own = groups if len(groups) < len(selection) else None
        return self.value(selection.indices, selection.weights, own)

    def value(self, picks: Int64, weights: Any = None, groups: Sequence[Int64] | None = None) -> float:
        """Return G of pool positions int64 [k] with weights float [k] or None; without groups they are dealt in order."""
        return -value_after_step(self.held, self.theta - self.eta * self.step(picks, weights, groups), self.eta)

    def step(self, picks: Int64, weights: Any = None, groups: Sequence[Int64] | None = None) -> Tensor:
        """Return Σ_m |B_m|/g · r_m [P]; r_m is the weighted mean over the group."""
        total, share = torch.zeros_like(self.theta), np.ones(self.shot.n)  # [P], [N]
        if weights is not None:
            share[picks] = weights / np.mean(weights)
        parts = list(np.split(picks, range(self.size, len(picks), self.size)) if groups is None else groups)
        if self.shot.batch_loss and len(parts) > 1 and len(parts[-1]) == 1:  # one example is not a batch
            parts[-2:] = [np.concatenate(parts[-2:])]
        for group in parts:
            total += len(group) / self.size * self._row(group, share[group]).to(total)
        return total

    def _row(self, group: Int64, weights: NDArray[np.float64]) -> Tensor:
        """Return the weighted mean row [P] of a group."""
        if self.shot.batch_loss or np.ptp(weights) == 0:
            return float(weights.mean()) * self.shot.rows([group])[0].full(0)
        total = torch.zeros_like(self.theta)
        for at in range(0, len(group), PIECE):
            piece = group[at : at + PIECE]
            rows, _ = self.shot.rows(piece[:, None])  # type: ignore[arg-type]  # it iterates as groups of one
            for i in range(len(piece)):
                total += float(weights[at + i]) / len(group) * rows.full(i).to(total)
        return total


def open_objective(shot: Snapshot, objective: Objective) -> ValidationObjective:
    """Open an objective on validation; every attack starts at the same points, drawn for this report only."""
    assert isinstance(shot, ModelSnapshot)  # the task has a model
    u = read_validation(shot.task, shot.seed, shot.device, shot.dtype, hashed=False)

    def starts(_attack_number: int, part: Tensor) -> NDArray[np.uint64]:
        return seeds(shot.seed, "fidelity attack", indices=part.cpu().numpy())

    point, size = shot.opened.point, shot.task.batch_size
    return ValidationObjective(
        objective, shot.net, shot.layout(), u.inputs, u.labels, starts, point, batch=size, clock=shot.clock
    )


def value_after_step(held: ValidationObjective, theta: Tensor, eta: float) -> float:
    """Return L(U; θ′) with a new attack at θ′ [P]; θ′ is the result of a step of η.

    Raises:
        NonFiniteError: outputs at θ′ are not finite.
    """
    why = f"outputs after the step are not finite: give a smaller eta than {eta:g}."
    try:
        value = held.recrafted_value(theta)
    except NonFiniteError as error:
        raise NonFiniteError(why) from error
    if not math.isfinite(value):
        raise NonFiniteError(why)
    return value

"""Gradient norm: Paul, Ganguli, Dziugaite, "Deep learning on a data diet: finding important examples early in training",
NeurIPS 2021.

    score_i = ‖∇_θ ℓ(x_i, y_i; θ)‖₂,   keep the k highest
"""

from dataclasses import dataclass

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.protocols import TaskLike
from coreselect.selectors.gradient.example_gradients import example_rows, natural
from coreselect.types import Selection


@dataclass(frozen=True)
class GraNd:
    """Choose the examples with the largest loss gradient, natural cross-entropy.

    θ is what the task captures: the head's Linears by default, which approximates the paper's norm over all parameters;
    `capture="all"` gives all, its norms then from a sketch. The paper averages over some ten networks early in training:
    one model is scored here, so average the `scores` of several selections to follow it.
    """

    name = "grand"
    requires = frozenset({"gradients"})
    renew = "round"

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k = resolve(budget, shot.n)
            shot = natural(shot, self.name)
            rows, notes = example_rows(shot, self.name)
            scores = rows.norms().cpu().numpy()  # [N]
            picks = np.argsort(-scores, kind="stable")[:k]  # ties to the lowest index
            return shot.selection(self, picks, gains=scores[picks], scores=scores, nested=True, notes=notes)

"""Gradient norm: Paul, Ganguli, Dziugaite, "Deep learning on a data diet: finding important examples early in training",
NeurIPS 2021.

    score_i = ‖∇_θ ℓ(x_i, y_i; θ)‖₂,   keep the k highest
"""

from dataclasses import dataclass

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.planning.needs import OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.selectors.gradient.example_gradients import example_rows, with_natural_loss
from coreselect.selectors.gradient.row_work import refuse_rows, rows_work
from coreselect.selectors.task_checks import refuse_without_classes
from coreselect.types import Selection


@dataclass(frozen=True)
class GraNd:
    """Choose the examples with the largest gradient of the task's own natural loss, or else of natural cross-entropy.

    θ is what the task captures. The default, the head's Linears, approximates the paper's norm over all parameters;
    `capture="all"` takes all of them and estimates the norms from a sketch. The paper averages over about ten networks early in
    training. Here one model is scored; average the `scores` of several selections to follow the paper.
    """

    name = "grand"
    requires = frozenset({"gradients"})
    renew = "round"

    def refuse(self, task: TaskLike) -> None:
        """Refuse a task whose natural gradients the method cannot read."""
        refuse_without_classes(task, self.name)

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method computes on rows: their norms."""
        return rows_work(sizes, 1, kept=40)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k = resolve(budget, snapshot.n)
            refuse_rows(snapshot, self, k, self.name)
            compared = with_natural_loss(snapshot, self.name)
            snapshot = compared.snapshot
            rows, notes = example_rows(snapshot, self.name)
            scores = rows.norms().cpu().numpy()  # [N]
            picks = np.argsort(-scores, kind="stable")[:k]  # ties to the lowest index
            return snapshot.selection(
                self, picks, gains=scores[picks], scores=scores, nested=True, notes=(*compared.notes, *notes)
            )

"""Cosine with the validation gradient, after Xia, Malladi, Gururangan, Arora, Chen, "LESS: selecting influential data for
targeted instruction tuning", ICML 2024.

    score_i = ⟨g_i, q⟩ / (‖g_i‖·‖q‖),   g_i = ∇_θ ℓ_i(θ),   q = ∇_θ L_V(θ);   keep the k highest

Left out of LESS: Adam's preconditioning of g_i, the sum over checkpoints weighted by their learning rates, LoRA, and the
largest of several validation tasks.
"""

from dataclasses import dataclass

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.gradients.rows import Rows
from coreselect.protocols import TaskLike
from coreselect.selectors.gradient.example_gradients import NaturalCE, example_rows, natural, validation_query
from coreselect.types import Float64, Int64, Selection


@dataclass(frozen=True)
class LESS:
    """Choose the examples whose gradient points most as validation's does, natural cross-entropy on both sides.

    An example without gradient has cosine 0. On a model, validation needs labels; a validation gradient given is used as it is.
    """

    name = "less"
    requires = frozenset({"gradients", "validation"})
    renew = "round"

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k = resolve(budget, shot.n)
            shot = natural(shot, self.name)
            query = validation_query(shot, self.name, NaturalCE())
            rows, notes = example_rows(shot, self.name)
            picks, scores = nearest(rows, rows.project(query), k)
            return shot.selection(self, picks, gains=scores[picks], scores=scores, nested=True, notes=notes)


def nearest(rows: Rows, query: torch.Tensor, k: int) -> tuple[Int64, Float64]:
    """Return the k rows of largest cosine with a query [W], best first, and all cosines [N].

    Working precision proposes, float64 decides: those that rounding cannot keep out of the k are computed anew.
    """
    length = float(query.double().norm())
    norms = rows.norms().cpu().numpy() * length  # [N]
    nought = norms == 0
    norms = np.where(nought, 1.0, norms)
    scores = np.where(nought, 0.0, rows.scores(query).double().cpu().numpy() / norms)  # [N]
    slack = np.where(nought, 0.0, rows.slack.double().cpu().numpy() * length / norms)  # [N]
    floor = np.partition(scores - slack, len(scores) - k)[len(scores) - k]  # the k-th largest is at least this
    close = np.flatnonzero(scores + slack >= floor)
    scores[close] = np.where(nought[close], 0.0, rows.exact(close, query) / norms[close])
    return close[np.argsort(-scores[close], kind="stable")][:k], scores

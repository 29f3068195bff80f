"""Cosine with the validation gradient, after Xia, Malladi, Gururangan, Arora, Chen, "LESS: selecting influential data for
targeted instruction tuning", ICML 2024.

    score_i = ⟨g_i, q⟩ / (‖g_i‖·‖q‖),   g_i = ∇_θ ℓ_i(θ),   q = ∇_θ L_V(θ);   keep the k highest

Single examples of the largest cosine are often of few classes: on CIFAR-10 with wrong labels two classes of ten were left. A
warning says so.

Not included from LESS: Adam's preconditioning of g_i, the sum over checkpoints weighted by their learning rates, LoRA, and the
maximum over several validation tasks.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import SingleExamplesWarning
from coreselect.gradients.rows import Rows
from coreselect.planning.needs import OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.selectors.gradient.example_gradients import natural_gradients
from coreselect.selectors.gradient.row_work import refuse_rows, rows_work
from coreselect.selectors.task_checks import refuse_without_classes
from coreselect.types import Float64, Int64, Selection


@dataclass(frozen=True)
class LESS:
    """Choose the examples whose gradient has the largest cosine with validation's, on natural inputs.

    The loss on both sides is the task's own if that is natural, else natural cross-entropy; a note says so.

    An example whose gradient is zero has cosine 0. With a model, validation needs labels; a validation gradient that the user
    gives is used unchanged.
    """

    name = "less"
    requires = frozenset({"gradients", "validation"})
    renew = "round"

    def refuse(self, task: TaskLike) -> None:
        """Refuse a task whose natural gradients the method cannot read."""
        refuse_without_classes(task, self.name)

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method computes on rows: norms, cosines, and those of the k highest again in float64."""
        return rows_work(sizes, 2 + 6 * sizes.k / sizes.n, kept=64)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k = resolve(budget, snapshot.n)
            refuse_rows(snapshot, self, k, self.name)
            warnings.warn(
                "picking single examples by their cosine with validation alone can leave a few classes only: use PerClass(LESS()), "
                "or compare with rs2 on the same budget.",
                SingleExamplesWarning,
                stacklevel=4,
            )
            compared, query, rows, notes = natural_gradients(snapshot, self.name)
            picks, scores = largest_cosines(rows, rows.project(query), k)
            return compared.snapshot.selection(
                self, picks, gains=scores[picks], scores=scores, nested=True, notes=notes
            )


def largest_cosines(rows: Rows, query: torch.Tensor, k: int) -> tuple[Int64, Float64]:
    """Return the k rows of largest cosine with a query [W], best first, and all cosines [N].

    Rows are proposed in working precision. Those that rounding could put among the k are computed again in float64.
    """
    length = float(query.double().norm())
    norms = rows.norms().cpu().numpy() * length  # [N]
    zero = norms == 0
    norms = np.where(zero, 1.0, norms)
    scores = np.where(zero, 0.0, rows.scores(query).double().cpu().numpy() / norms)  # [N]
    slack = np.where(zero, 0.0, rows.slack.double().cpu().numpy() * length / norms)  # [N]
    floor = np.partition(scores - slack, len(scores) - k)[len(scores) - k]  # the k-th largest is at least this
    close = np.flatnonzero(scores + slack >= floor)
    scores[close] = np.where(zero[close], 0.0, rows.exact(close, query) / norms[close])
    return close[np.argsort(-scores[close], kind="stable")][:k], scores

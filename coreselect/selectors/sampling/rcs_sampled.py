"""Draw single examples with probabilities that rise with RCS's gain, weighted by 1/π: the unbiased form of picking by gain.

    π_i ∝ (1 − α)/N + α·softmax(z_i / τ)_i,  Σ π_i = k, π_i ≤ 1;    weight_i = k / (N π_i)

z_i is the standardised first-order gain ⟨∇_θ ℓ_i, ∇ L_RD(U; θ)⟩ at θ. Exactly k examples are drawn, i with probability
π_i (`inclusion.py`), so (1/k) Σ weight_i·ℓ_i is an unbiased estimate of the pool's mean loss.
"""

from dataclasses import dataclass

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError
from coreselect.gradients.rows import single_examples
from coreselect.gradients.sketch import Sketch
from coreselect.objectives import Objective
from coreselect.objectives import objective as find_objective
from coreselect.planning.needs import Need, OnValidation, RowPasses, Sizes, Sweep
from coreselect.protocols import TaskLike
from coreselect.selectors.checks import finite_array, nonzero_query, zero_note
from coreselect.selectors.sampling.inclusion import inclusion_probabilities, systematic_sample
from coreselect.support.seeding import generator as seeded
from coreselect.types import Float64, Selection


@dataclass(frozen=True)
class RCSSampled:
    """Draw exactly k examples with probabilities that rise with the gain; weights keep means unbiased.

    Args:
        objective: as for `RCS`.
        alpha: share of the gain in the probabilities, in [0, 1); every weight is at most 1 / (1 − α).
        temperature: τ > 0, in standard deviations of the gain.
    """

    objective: Objective | str = "rd"
    alpha: float = 0.5
    temperature: float = 2.0
    name = "rcs_sampled"
    renew = "round"
    attacks = frozenset({"pool", "validation"})

    def __post_init__(self) -> None:
        object.__setattr__(self, "objective", find_objective(self.objective))
        if not 0 <= self.alpha < 1 or not self.temperature > 0:
            raise ShapeError(
                f"alpha must lie in [0, 1) and temperature above 0, got {self.alpha} and {self.temperature}."
            )

    @property
    def requires(self) -> frozenset[str]:
        assert isinstance(self.objective, Objective)
        return frozenset(
            {"gradients", "example_gradients", "validation"}
            | ({"logits", "validation_labels"} if self.objective.needs_labels else set())  # the labels number classes
        )

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return what a selection needs: one query, one sweep and one look at every row."""
        if sizes.arrays:
            return (RowPasses(1, "rows"),)
        assert isinstance(self.objective, Objective)
        return OnValidation(self.objective), Sweep(sizes.n, rows=sizes.n), RowPasses(1, "rows")

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        assert isinstance(self.objective, Objective)
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k, n = resolve(budget, snapshot.n), snapshot.n
            query = nonzero_query(snapshot.objective(self.objective).query(snapshot.theta()), snapshot, self.name)
            rows, _ = snapshot.rows(single_examples(n), Sketch() if snapshot.needs_sketch else None)
            gains = finite_array(rows.scores(rows.project(query)), "gains", snapshot.positions)  # [n]
            pi = probabilities(gains, k, self.alpha, self.temperature)
            draws = seeded(snapshot.draw_seed, "rcs_sampled", round)
            picks = systematic_sample(pi, draws)
            return snapshot.selection(
                self, picks, gains=gains[picks], weights=k / (n * pi[picks]), scores=gains, notes=zero_note(query)
            )


def probabilities(gains: Float64, k: int, alpha: float, temperature: float) -> Float64:
    """Return π [N] in (0, 1] with sum k, which rises with the gain."""
    spread = gains.std()
    z = (gains - gains.mean()) / spread if spread > 0 else np.zeros_like(gains)
    tilt = np.exp((z - z.max()) / temperature)
    p = (1 - alpha) / len(gains) + alpha * tilt / tilt.sum()
    return inclusion_probabilities(p, k)

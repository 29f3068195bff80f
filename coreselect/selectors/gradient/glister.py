"""GLISTER-ONLINE: Killamsetty, Sivasubramanian, Ramakrishnan, Iyer, "GLISTER: generalization based data subset selection for
efficient and robust learning", AAAI 2021, its greedy Taylor approximation.

    S* = argmin_{|S| = k} L_V(θ − η Σ_{i ∈ S} ∇ℓ_i(θ))
    greedily:  e = argmax over the rest of η⟨∇L_V(θ_S), g_e⟩;   θ_S ← θ_S − η g_e;   ∇L_V anew each r picks

RCS is this with L_V the representational divergence and groups as candidates, so both share one loop.
"""

from dataclasses import dataclass

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError
from coreselect.protocols import TaskLike
from coreselect.search import search
from coreselect.selectors.gradient.example_gradients import NaturalCE, example_rows, natural, validation_query
from coreselect.solvers.greedy import greedy
from coreselect.types import Selection


@dataclass(frozen=True)
class GLISTER:
    """Choose examples whose gradient step best lowers validation cross-entropy, natural on both sides.

    Args:
        eta: η in (0, 10⁶], the step per pick; too large a one sends θ_S away over many picks.
        refresh: r ≥ 1, renew the validation gradient every so many picks.
    """

    eta: float = 0.01
    refresh: int = 1
    name = "glister"
    requires = frozenset({"gradients", "validation", "validation_labels"})
    renew = "round"

    def __post_init__(self) -> None:
        if not 0 < self.eta <= 1e6:
            raise ShapeError(f"eta must lie in (0, 10⁶], got {self.eta}.")
        if self.refresh < 1:
            raise ShapeError(f"refresh counts picks from 1, got {self.refresh}.")

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k = resolve(budget, shot.n)
            shot = natural(shot, self.name)
            query = validation_query(shot, self.name, NaturalCE())
            rows, notes = example_rows(shot, self.name)
            with shot.clock("greedy"):
                trace, _ = greedy(
                    rows,
                    shot.objective(NaturalCE()),
                    search("auto", rows),
                    theta=shot.theta(),
                    eta=self.eta,
                    budget=k,
                    refresh=self.refresh,
                    first=query,
                    tick=lambda done, total: shot.shared.progress("greedy", done, total),
                )
            scores = self.eta * rows.scores(rows.project(query)).double().cpu().numpy()  # [N], first gains
            return shot.selection(
                self, np.array(trace.order), gains=np.array(trace.gains), scores=scores, nested=True, notes=notes
            )

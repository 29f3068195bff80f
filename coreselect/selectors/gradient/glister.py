"""GLISTER-ONLINE, in its greedy Taylor approximation: Killamsetty, Sivasubramanian, Ramakrishnan, Iyer, "GLISTER:
generalization based data subset selection for efficient and robust learning", AAAI 2021.

    S* = argmin_{|S| = k} L_V(θ − η Σ_{i ∈ S} ∇ℓ_i(θ))
    greedily:  e = argmax over the rest of η⟨∇L_V(θ_S), g_e⟩;   θ_S ← θ_S − η g_e;   ∇L_V again every r picks

RCS is the same with the representational divergence as L_V and groups as candidates, so both use one loop.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError
from coreselect.protocols import TaskLike
from coreselect.search import search
from coreselect.selectors.gradient.example_gradients import natural_gradients
from coreselect.solvers.greedy import greedy
from coreselect.types import Selection


@dataclass(frozen=True)
class GLISTER:
    """Choose examples whose gradient step lowers the loss on validation most; natural inputs on both sides.

    The loss is the task's own if that is natural, else natural cross-entropy; a note says so.

    Args:
        eta: η in (0, 10⁶], the step per pick; if it is too large, θ_S diverges after many picks.
        refresh: r ≥ 1, how many picks between two validation gradients.
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
            raise ShapeError(f"refresh must be at least 1 pick, got {self.refresh}.")

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k = resolve(budget, snapshot.n)
            compared, query, rows, notes = natural_gradients(snapshot, self.name)
            snapshot = compared.snapshot
            with snapshot.clock("greedy"):
                trace, _ = greedy(
                    rows,
                    snapshot.objective(compared.objective),
                    search("auto", rows),
                    theta=snapshot.theta(),
                    eta=self.eta,
                    budget=k,
                    refresh=self.refresh,
                    first=query,
                    tick=partial(snapshot.progress, "greedy"),
                )
            scores = self.eta * rows.scores(rows.project(query)).double().cpu().numpy()  # [N], gains at the first pick
            return snapshot.selection(
                self, np.array(trace.order), gains=np.array(trace.gains), scores=scores, nested=True, notes=notes
            )

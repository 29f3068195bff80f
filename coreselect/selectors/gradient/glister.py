"""GLISTER-ONLINE, in its greedy Taylor approximation: Killamsetty, Sivasubramanian, Ramakrishnan, Iyer, "GLISTER:
generalization based data subset selection for efficient and robust learning", AAAI 2021.

    S* = argmin_{|S| = k} L_V(θ − η Σ_{i ∈ S} ∇ℓ_i(θ))
    greedily:  e = argmax over the rest of η⟨∇L_V(θ_S), g_e⟩;   θ_S ← θ_S − η g_e;   ∇L_V again every r picks

RCS is the same with the representational divergence as L_V and groups as candidates, so both use one loop.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError
from coreselect.planning.needs import Need, OnValidation, OwnWork, Sizes, Sweep
from coreselect.protocols import TaskLike
from coreselect.search import search
from coreselect.search.few_passes import LARGEST, SHRINK
from coreselect.selectors.gradient.example_gradients import natural_gradients
from coreselect.selectors.gradient.row_work import passes_over_rows, refuse_rows
from coreselect.selectors.task_checks import refuse_without_classes
from coreselect.solvers.greedy import greedy
from coreselect.support.limits import Needs
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

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return what a selection needs: a query every r picks, and rows; the row of a pick again where rows are sketched."""
        again = 0 if sizes.caches else sizes.k
        return OnValidation(None, queries=self._queries(sizes)), Sweep(sizes.n, "natural", rows=sizes.n, again=again)

    def refuse(self, task: TaskLike) -> None:
        """Refuse a task whose natural gradients the method cannot read."""
        refuse_without_classes(task, self.name)

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method computes on rows: a pass for each query at most, and the query itself on a head's features."""
        n, queries, inner = sizes.n, self._queries(sizes), 1 / (SHRINK - 1)  # an inner level has 1/SHRINK of the rows
        asked = 2 * sizes.validation * queries if sizes.caches else 0  # multiply-adds for each number of a row

        def of(width: int) -> Needs:
            passes = passes_over_rows(sizes, width, (1 + inner) * queries + 3)  # and norms, first gains, equal scores
            levels = min(4 * n * width, LARGEST * SHRINK) * inner
            return replace(passes, products=passes.products + asked * width, memory=96 * n + levels)

        return OwnWork("rows", of)

    def _queries(self, sizes: Sizes) -> int:
        """Return how many validation gradients are computed."""
        return -(-sizes.k // self.refresh)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k = resolve(budget, snapshot.n)
            refuse_rows(snapshot, self, k, self.name)
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

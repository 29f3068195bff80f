"""Leave out the examples of highest loss in each class, then run any selector on the rest: a filter for wrong labels.

    V_c = the ⌈keep·n_c⌉ examples of class c with the lowest loss ℓ_i;   S ⊆ ∪_c V_c

Examples whose label is wrong are fitted late, so their loss is high: Arpit et al., "A closer look at memorization in deep
networks", ICML 2017; training on small losses: Han et al., "Co-teaching", NeurIPS 2018. The loss of a small model that was
trained without attacks separates them better than that of the model in adversarial training, which fits less.
"""

from dataclasses import dataclass, field
from math import ceil

import numpy as np
import torch
from numpy.typing import ArrayLike

from coreselect.budget import Budget, resolve
from coreselect.errors import BudgetError, ShapeError
from coreselect.planning.derived import of_parts
from coreselect.planning.needs import NaturalPass, Need, Sizes
from coreselect.protocols import Selector, TaskLike
from coreselect.selectors.checks import class_labels, finite_logits, log_probabilities, logit_work
from coreselect.selectors.combinators.merge import Part, merge
from coreselect.support.array_checks import as_array
from coreselect.support.type_checks import share_of_one
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64, Selection


@dataclass(frozen=True)
class Filtered:
    """Choose with `selector` among the share of each class that has the lowest loss.

    It finds wrong labels. It does not make a model more robust than a random subset of the same examples; see the results.

    Args:
        selector: any selector; it sees the examples that are left as its pool.
        keep: the share of each class that is left, in (0, 1].
        losses: [N], finite, one for each example of the whole pool, such as those of a model trained without attacks; None: the
            natural cross-entropy of the model itself, computed again in every round.
    """

    selector: Selector
    keep: float = 0.6
    losses: ArrayLike | None = field(default=None, kw_only=True, compare=False)
    name = "filtered"

    def __post_init__(self) -> None:
        share_of_one("keep", self.keep, ShapeError, whole=True)
        if self.losses is not None:
            given = as_array("losses", self.losses)
            if given.ndim != 1 or given.dtype.kind not in "fiu" or not np.isfinite(given).all():
                raise ShapeError(f"losses are a vector of finite numbers, got {given.dtype} {list(given.shape)}.")
            object.__setattr__(self, "losses", given.astype(np.float64))

    @property
    def requires(self) -> frozenset[str]:
        return self.selector.requires | {"labels"} | (frozenset() if self.losses is not None else {"logits"})

    @property
    def renew(self) -> str:
        return self.selector.renew

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return what the selector needs for the examples that are left, and a pass where the losses are not given."""
        left = sum(kept_of(n, self.keep) for n in sizes.classes) or kept_of(sizes.n, self.keep)
        own = () if self.losses is not None else (NaturalPass(sizes.n), logit_work(sizes.n))
        return (*own, *of_parts([(self.selector, sizes.of(left, min(left, sizes.k)))]))

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k = resolve(budget, snapshot.n)

            def found() -> Int64:
                return lowest(self._losses(snapshot), snapshot.labels(), self.keep).astype(np.int64)

            renewed = self.losses is None and self.renew == "epoch"
            keep = snapshot.context.keep
            left = np.flatnonzero(keep(f"filter of {self.keep}", snapshot.n, found) if renewed else found())
            if len(left) < k:
                raise BudgetError(
                    f"the filter leaves {len(left)} of {snapshot.n} examples, and the budget is {k}: raise keep={self.keep}."
                )
            inside = snapshot.restrict(left, schedule=snapshot.schedule)
            inner = self.selector.select(inside, k, generator=generator, round=round)
            return merge(snapshot, self, [Part(left, inner)])

    def _losses(self, snapshot: Snapshot) -> Float64:
        """Return the loss of each example, [n]."""
        if self.losses is not None:
            given = np.asarray(self.losses)
            if len(given) != len(snapshot.context.source):
                raise ShapeError(
                    f"{len(given)} losses were given for a pool of {len(snapshot.context.source)} examples: give one for each."
                )
            return given[snapshot.positions]
        logits = finite_logits(snapshot, needs=logit_work(snapshot.n).of, name=self.name)  # [n, C]
        y = class_labels(snapshot, logits.shape[1])
        return np.concatenate([-log_p[np.arange(len(log_p)), y[rows]] for rows, log_p in log_probabilities(logits)])


def kept_of(count: int, keep: float) -> int:
    """Return ⌈keep·n⌉, how many of n examples of a class are left."""
    return ceil(keep * count - 1e-9)


def lowest(losses: Float64, labels: Int64, keep: float) -> np.ndarray:
    """Return which examples are among the lowest losses of their class, bool [n]; ties go to the lowest position."""
    out = np.zeros(len(losses), dtype=bool)
    for c in np.unique(labels):
        m = np.flatnonzero(labels == c)
        out[m[np.argsort(losses[m], kind="stable")[: kept_of(len(m), keep)]]] = True
    return out

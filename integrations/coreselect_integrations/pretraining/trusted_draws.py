"""The controls of methods that are guided by a clean validation set U: training on U, and U mixed into the draws.

    validation_only    every epoch trains on k draws from U
    METHOD+validation  on k/2 picks of the method from the pool, and k/2 draws from U

The draws from U walk through permutations of it, as `rs2` does; a U of fewer than k images is repeated. A guided method is worth
something if it beats these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from coreselect import Selection, Selector
from coreselect.budget import Budget, resolve
from coreselect.data import names_of
from coreselect.errors import DataError, RequirementError
from coreselect.planning.derived import of_parts
from coreselect.planning.needs import Need, Sizes
from coreselect.protocols import TaskLike
from coreselect.selectors import RS2
from coreselect.selectors.combinators.merge import Part, merge
from coreselect_integrations.pretraining.dataset_shape import read_labels

ONLY, WITH = "validation_only", "validation"


@dataclass(frozen=True)
class TrustedDraws:
    """Choose a part of the budget with `selector` from the pool, and draw the rest from the trusted set behind it.

    Args:
        selector: of the pool; None draws everything from the trusted set.
        share: of the budget that is drawn from the trusted set, in (0, 1]; 1 without a selector.
        pool_size: how many examples before the trusted ones; `joined` sets it.
    """

    selector: Selector | None
    share: float = 0.5
    pool_size: int | None = None
    name = "trusted_draws"
    renew = "epoch"

    def __post_init__(self) -> None:
        if self.selector is not None and "validation" in self.selector.requires:
            raise RequirementError(
                f"{self.selector.name!r} is guided by the validation set, which cannot be a part of its pool: mix the set into "
                "rs2, as rs2+validation."
            )

    @property
    def requires(self) -> frozenset[str]:
        return frozenset() if self.selector is None else self.selector.requires

    def costs(self, sizes: Sizes) -> tuple[Need, ...]:
        """Return what the selector of the pool needs; draws need nothing."""
        k = sizes.k - self._drawn(sizes.k)
        return of_parts([(self.selector, sizes.of(self.pool_size or sizes.n, k))]) if self.selector and k else ()

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            if self.pool_size is None:
                raise RequirementError(
                    "the validation set is drawn from in `coreselect train`, `compare` and `race` alone."
                )
            k, everything = resolve(budget, snapshot.n), np.arange(snapshot.n, dtype=np.int64)
            drawn = self._drawn(k)
            parts: list[Part] = []
            sides = (
                (self.selector, everything[: self.pool_size], k - drawn),
                (RS2(), everything[self.pool_size :], drawn),
            )
            for number, (selector, members, own) in enumerate(sides):
                if selector is not None and own:
                    inside = snapshot.restrict(members, number)
                    parts.append(Part(members, selector.select(inside, own, generator=generator, round=round)))
            return merge(snapshot, self, parts)

    def _drawn(self, k: int) -> int:
        """Return how many of k are drawn from the trusted set."""
        return k if self.selector is None else round(self.share * k)

    def joined(self, pool: Any, trusted: Any, fraction: float) -> tuple[TrustedDraws, JoinedPool, int]:
        """Return (this selector at the size of the pool, pool and trusted set as one, the budget k that the pool alone would have).

        Raises:
            DataError: the trusted set has no labels, or there is none.
        """
        k = resolve(fraction, len(pool))
        own = replace(self, pool_size=len(pool))
        return own, JoinedPool(pool, trusted, repeats=-(-self._drawn(k) // max(1, len(trusted)))), k


class JoinedPool(Dataset[Any]):
    """The items of a pool, and behind them those of a trusted set, `repeats` times.

    Attributes:
        targets: int64 [N + repeats·|U|].
        classes: the class names of the pool, or None.
    """

    def __init__(self, pool: Any, trusted: Any, repeats: int = 1) -> None:
        if not len(trusted):
            raise DataError("there is no validation image to train on: hold some out, or give a validation set.")
        try:
            labels = read_labels(trusted)
        except DataError as why:
            raise DataError(f"training on the validation set needs its labels: {why}") from why
        self.pool, self.trusted, self.repeats = pool, trusted, repeats
        self.targets = np.concatenate([read_labels(pool), np.tile(labels, repeats)])
        self.classes = names_of(pool)
        truth = getattr(pool, "truth", None)
        self.truth = None if truth is None else _JoinedTruth(truth, len(pool))

    def __len__(self) -> int:
        return len(self.pool) + self.repeats * len(self.trusted)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        n = len(self.pool)
        item = self.pool[index] if index < n else self.trusted[(index - n) % len(self.trusted)]
        return item[0], int(self.targets[index])


@dataclass(frozen=True)
class _JoinedTruth:
    """What is wrong with picks of which some are trusted: these are in order."""

    pool: Any
    pool_size: int

    def shares(self, picks: Any) -> dict[str, float]:
        """Return the shares of all picks, as `Truth.shares` does for those of the pool."""
        i = np.asarray(picks, np.int64)
        own = i[i < self.pool_size]
        found = self.pool.shares(own if len(own) else [0])
        return {name: share * len(own) / len(i) for name, share in found.items()}

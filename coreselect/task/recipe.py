"""What a task holds: references and settings that snapshots read, and nothing computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from coreselect.data.reading import Unpack, read_labels
from coreselect.errors import RequirementError
from coreselect.gradients.row_store import FolderStore, RowStore
from coreselect.history import History
from coreselect.losses.natural import is_natural
from coreselect.losses.targets import reads_classes
from coreselect.network.attack_at import AttackAt
from coreselect.protocols import Attack, Call, Loss, MakeViews, Progress
from coreselect.support.bounds import Range
from coreselect.support.devices import host_array
from coreselect.support.ranks import Work
from coreselect.support.seeding import rng_kept
from coreselect.task.targets import Targets, why_no_classes
from coreselect.types import Int64


def no_progress(part: str, done: int, total: int) -> None:
    """Ignore progress."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Recipe:
    """What every task has.

    Attributes:
        n: how many examples there are to choose from.
        positions: their pool positions, or None for the whole pool.
        progress: called with (part, done, total) during a selection.
        store: keeps what sweeps over the pool have computed, or None.
        history: of the whole pool; training fills it.
        work: what the ranks of a process group do together while they select, or None for this process alone.
        kept: arrays that selectors keep between the epochs of a round; a sampler empties it and saves it. None: nothing is kept.
        memo: facts about the datasets that do not depend on the model: labels, fingerprint, and whether the labels that the
            pool lists agree with those of its items.
    """

    n: int
    positions: Int64 | None = None
    progress: Progress = no_progress
    store: RowStore | None = None
    history: History | None = None
    work: Work | None = None
    kept: dict[str, Int64] | None = None
    memo: dict[str, Any] = field(default_factory=dict)

    @property
    def provides(self) -> frozenset[str]:
        """What is available, in the words of `Selector.requires`."""
        raise NotImplementedError

    def restrict(self, indices: Sequence[int] | Int64) -> Self:
        """Return the task over some of its examples, numbered 0…n−1 in the order given."""
        base = np.arange(self.n, dtype=np.int64) if self.positions is None else self.positions
        chosen = base[host_array(indices).astype(np.int64)]
        return replace(self, positions=chosen, n=len(chosen))

    def storing(self, store: RowStore | str | Path | None) -> Self:
        """Return the task with a store of rows, or without one.

        Args:
            store: a folder, from which a selection that was killed goes on, or a `coreselect.gradients.row_store.RowStore`.
        Raises:
            RequirementError: the task is made of arrays, which need no sweep.
        """
        return replace(self, store=FolderStore(store) if isinstance(store, str | Path) else store)

    def reporting(self, progress: Progress) -> Self:
        """Return the task with a callable that gets (part, done, total) during a selection."""
        return replace(self, progress=progress)


@dataclass(frozen=True, eq=False, kw_only=True)
class ModelRecipe(Recipe):
    """A model, its pool and its validation inputs, and how they are read, attacked and called.

    `first_ranges` are the smallest and the largest value of the first inputs of "pool" and "validation", and of the "views of
    the pool", where known. `attack_at` is the submodule whose output attacks change, None where they change the inputs.
    `part` is what messages call the pool: "validation", where validation stands in its place.
    """

    model: nn.Module
    pool: Any
    validation: Any
    loss: Loss
    attack: Attack | None
    attack_given: bool
    head: str | None
    capture: Sequence[str] | str | None
    call: Call
    views: MakeViews | None
    unpack: Unpack
    batch_size: int
    num_workers: int
    timeout: float
    device: torch.device | None
    ids: Sequence[int | str] | None
    fold: bool
    pool_targets: Targets | None
    validation_targets: Targets | None
    first_ranges: Mapping[str, Range | None] = field(default_factory=dict)
    attack_at: AttackAt | None = None
    part: str = "pool"

    @property
    def pool_has_labels(self) -> bool:
        """Whether the pool's items carry class numbers."""
        return self.pool_targets is not None and self.pool_targets.classes

    @property
    def lacks(self) -> Mapping[str, str]:
        """Why something is not in `provides`, where the reason is that targets are no classes."""
        pool, held = why_no_classes(self.pool_targets), why_no_classes(self.validation_targets)
        out = dict.fromkeys(("labels", "logits", "history"), pool) | {"validation_labels": held}
        return {what: why for what, why in out.items() if why}

    @property
    def provides(self) -> frozenset[str]:
        out = {"features", "gradients", "inputs"}
        trained = self.pool_targets is not None or not self.loss.needs_labels
        classes = self.loss.needs_labels and why_no_classes(self.pool_targets) is None
        if classes:  # the outputs of a network trained without labels are not classes
            out.add("logits")
        if self.loss.per_example or self.n == 1:
            out.add("example_gradients")
        if self.pool_has_labels:
            out.add("labels")
        if is_natural(self.loss) and trained:
            out.add("natural_losses")
        if self.history is not None and self.history.features is not None:
            out.add("recorded_features")
        if self.history is not None:
            out.add("losses")
            if classes or self.history.attacked is not None:  # logits of classes are, or were, recorded
                out.add("history")
        if self.validation is not None:
            out.add("validation")
            held = self.validation_targets
            if held is not None and (held.classes or (is_natural(self.loss) and not reads_classes(self.loss))):
                out.add("validation_labels")
        return frozenset(out)

    def pool_labels(self) -> Int64 | None:
        """Return the labels of the whole pool, int64 [N], or None if its items carry none; the pool is read at most once."""
        if "labels" not in self.memo:
            with rng_kept():
                self.memo["labels"] = (
                    read_labels(
                        self.pool,
                        seed=0,
                        unpack=self.unpack,
                        num_workers=self.num_workers,
                        timeout=self.timeout,
                        trust_listed=self.memo.get("labels agree", True),
                    )
                    if self.pool_has_labels
                    else None
                )
        return self.memo["labels"]


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrayRecipe(Recipe):
    """Arrays instead of a model."""

    features: NDArray[Any] | None
    labels: Int64 | None
    logits: NDArray[Any] | None
    gradients: NDArray[Any] | None
    groups: Int64 | None
    validation_gradient: NDArray[Any] | None

    def storing(self, store: RowStore | str | Path | None) -> Self:
        if store is not None:
            raise RequirementError(
                "a store keeps what a sweep over a pool has computed, and arrays need no sweep: leave it out."
            )
        return self

    @property
    def size(self) -> int:
        """N, the size of the whole pool."""
        return len(
            next(a for a in (self.groups, self.features, self.labels, self.logits, self.gradients) if a is not None)
        )

    @property
    def provides(self) -> frozenset[str]:
        out = {w for w in ("features", "labels", "logits", "gradients") if getattr(self, w) is not None}
        if self.history is not None:
            out |= {"losses"} if self.history.without_logits else {"losses", "history"}
        if self.gradients is not None and self.groups is None:
            out.add("example_gradients")
        return frozenset(out | ({"validation"} if self.validation_gradient is not None else set()))

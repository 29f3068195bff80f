"""What one selection may ask about its examples, and how it puts its answer together.

A snapshot is a task at fixed (parameters, buffers, attack, seed, round). It computes each thing when it is first asked for,
and nothing outlives the selection. A restricted snapshot shares what the first one has computed and counts its examples
0…n−1 again, so a selector that runs inside another selector needs no special case.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from torch import Tensor

from coreselect.errors import RequirementError
from coreselect.gradients.rows import Full, Groups, Rows
from coreselect.gradients.sketch import Sketch
from coreselect.history import History, Record
from coreselect.network.layout import Layout
from coreselect.objectives.objective import Objective
from coreselect.protocols import Loss
from coreselect.support.ranks import Work
from coreselect.support.seeding import derive
from coreselect.support.turns import Schedule
from coreselect.task.context import Context, missing
from coreselect.task.provenance import provenance
from coreselect.types import Certificate, Diagnostics, Float64, Int64, Selection


class Snapshot(ABC):
    """What a selector may ask for. All positions that it takes and returns are 0…n−1 of this snapshot.

    Attributes:
        positions: int64 [n], the pool position of each example.
        draw_seed: seed of a selector's own draws; each part of a pool has another one.
        schedule: how many picks each round has here; None: as many as this one.
        needs_sketch: whether rows are too long to be stored in full.
        batch_loss: whether a row needs a whole group (the loss has no value for one example).
        stratified_by_labels: whether `stratify="auto"` balances groups over the classes.
        attacks_training: whether the last stream of the loss is of attacked inputs; None if there is no loss.
        fixed_groups: groups that came with the task, or None.
        pool_history: what training has recorded about the whole pool, or None.
        feature_width, logit_width, row_width: D, C and P where they are known without computing anything, else None.
    """

    needs_sketch = False
    batch_loss = False
    stratified_by_labels = False
    attacks_training: bool | None = None
    fixed_groups: Groups | None = None
    pool_history: History | None = None
    feature_width: int | None = None
    logit_width: int | None = None
    row_width: int | None = None

    def __init__(self, context: Context, positions: Int64) -> None:
        self.context, self.positions = context, positions
        self.seed, self.round, self.clock, self.progress = context.seed, context.round, context.clock, context.progress
        self.draw_seed = context.seed
        self.schedule: Schedule | None = None

    @property
    def n(self) -> int:
        """How many examples there are to choose from."""
        return len(self.positions)

    @property
    @abstractmethod
    def provides(self) -> frozenset[str]:
        """What is available, in the words of `Selector.requires`."""

    @abstractmethod
    def labels(self) -> Int64:
        """Return the labels, int64 [n]; raise RequirementError if there are none."""

    @abstractmethod
    def features(self) -> Tensor:
        """Return the features of the natural inputs, [n, D]; raise RequirementError if there are none."""

    @abstractmethod
    def logits(self) -> Tensor:
        """Return the logits of the natural inputs, [n, C]; raise RequirementError if there are none."""

    @abstractmethod
    def layout(self) -> Layout:
        """Return how the captured parameters are flattened."""

    @abstractmethod
    def theta(self) -> Tensor:
        """Return the captured parameters θ, [P]."""

    @abstractmethod
    def rows(
        self, groups: Groups, sketch: Sketch | None = None, *, spread: bool | None = False
    ) -> tuple[Rows, Tensor | None]:
        """Return the rows of these groups, and the groups' training losses [M] if they are known.

        `spread`: whether ranks that share a selection keep the rows that they make; None: if one cannot hold all in memory.
        """

    @abstractmethod
    def full_rows(self, groups: Groups) -> Full:
        """Return what computes one row [P] in full, without other ranks: (number of the group, kept members or None) → row."""

    def by_itself(self) -> tuple[Work | None, Self]:
        """Return what the ranks do together, or None, and a snapshot whose rows this process makes without them."""
        return None, self

    def sketch_for(self, groups: Groups) -> tuple[Sketch | None, str | None]:
        """Return the sketch that the rows of these groups take if the caller asks for none, and a note if their size is why."""
        del groups
        return (Sketch(), None) if self.needs_sketch else (None, None)

    @abstractmethod
    def objective(self, spec: Objective) -> Any:
        """Open an objective on validation: an object with `query(θ′)`, `recraft(θ′)` and, for a model, values."""

    @abstractmethod
    def record(self, *, of_rows: bool) -> dict[str, Any]:
        """Describe the arrays; or the model, loss and attack that rows came from, empty if there are none (`of_rows`)."""

    def as_used(self, selector: Any) -> Any:
        """Return a selector for the record: with the attacks that its objectives have used."""
        return selector

    def misclassified(self) -> Tensor | None:
        """Return which examples are wrong on the inputs that the loss trains on, bool [n]; None if that is unknown."""
        return None

    def misclassified_clean(self) -> Tensor | None:
        """Return which examples are wrong on natural inputs, bool [n]; None where that would cost a pass over the pool."""
        return None

    def attacked_logits(self) -> Tensor:
        """Return the logits of the attacked inputs that the loss trains on, [n, C]; raise RequirementError without any."""
        raise missing("attacked inputs", "give a model and an adversarial loss, such as loss='sat'")

    def natural_losses(self) -> Tensor | None:
        """Return the task's own loss of every natural input, [n]; None without a natural loss other than cross-entropy."""
        return None

    def history(self) -> Record:
        """Return what training has recorded about the n examples; raise RequirementError if it recorded nothing."""
        if self.pool_history is None:
            raise missing("history", "record one while training and give history= to the task")
        return self.pool_history.at(self.positions)

    def inputs(self) -> Iterator[tuple[Int64, Tensor, Tensor | None]]:
        """Yield (positions in this snapshot [B], inputs [B, …], labels [B] or None) for all examples, in order."""
        raise missing("inputs", "give a model and its pool (Task.from_model)")

    def measured(
        self,
        kind: str,
        settings: Mapping[str, Any],
        measure: Callable[[Int64, Tensor, Tensor | None], Mapping[str, Tensor]],
        *,
        part: str,
    ) -> dict[str, Tensor]:
        """Return what a method measures of every example's natural input, batch by batch: name → [n, …], in order.

        Args:
            kind, part: the names of the method and of its progress.
            settings: what the measure depends on besides the model and the inputs, as values that JSON can hold.
            measure: (pool positions [B], inputs [B, …], labels [B] or None) → name → [B, …]; it must not depend on other batches.
        """
        raise missing("inputs", "give a model and its pool (Task.from_model)")

    def outputs(self, x: Tensor) -> Tensor:
        """Return the logits [B, C] of inputs [B, …]: natural route, evaluation mode, gradients flow to x."""
        raise missing("model", "use Task.from_model")

    def with_loss(self, loss: Loss) -> Self:
        """Return a snapshot of the same model and examples whose rows are gradients of another loss, with its own attack.

        Rows that came as arrays stay as they are: the snapshot returns itself.

        Raises:
            RequirementError: the loss reads labels, and the network is trained without labels.
        """
        del loss
        return self

    def loss_gradient(self, held: Any) -> Tensor | None:
        """Return the gradient of the training loss on validation, [P], if cached features allow it; else None."""
        return None

    def restrict(self, indices: Sequence[int] | Int64, part: int = 0, *, schedule: Schedule | None = None) -> Self:
        """Return the same snapshot over some of its examples, numbered 0…n−1 in the order given.

        Args:
            part: number of this part of the pool; selectors inside draw independently in each part.
            schedule: how many picks each round has there, if not all have the same number.
        """
        inner = self._restricted_to(self.positions[np.asarray(indices, dtype=np.int64)])
        inner.draw_seed, inner.schedule = derive(self.draw_seed, "part", part), schedule
        return inner

    @abstractmethod
    def _restricted_to(self, positions: Int64) -> Self: ...

    @contextmanager
    def snapshot(self, seed: int, round: int) -> Iterator[Self]:
        """Return itself, so that a selector inside a selector shares what the outer one has computed."""
        if (seed, round) != (self.seed, self.round):
            raise RequirementError(
                f"this snapshot has seed {self.seed}, round {self.round}; a selector inside asked for {seed}, {round}: "
                "pass on generator and round unchanged."
            )
        yield self

    def selection(
        self,
        selector: Any,
        indices: Int64,
        *,
        groups: Int64 | None = None,
        gains: Float64 | None = None,
        weights: Float64 | None = None,
        scores: Float64 | None = None,
        nested: bool = False,
        certificate: Certificate | None = None,
        diagnostics: Diagnostics | None = None,
        notes: tuple[str, ...] = (),
        settings: dict[str, Any] | None = None,
    ) -> Selection:
        """Put an answer together with its provenance.

        Args:
            indices: int64 [k], positions in this snapshot in pick order.
            settings: facts to record in addition to the selector's own settings.
        """
        indices = np.asarray(indices, dtype=np.int64)
        task = self.record(of_rows="gradients" in selector.requires)
        return Selection(
            indices=indices,
            source_indices=self.context.source[self.positions[indices]],
            groups=np.arange(len(indices)) if groups is None else np.asarray(groups, np.int64),
            gains=np.zeros(len(indices)) if gains is None else np.asarray(gains, np.float64),
            weights=None if weights is None else np.asarray(weights, np.float64),
            scores=None if scores is None else np.asarray(scores, np.float64),
            nested=nested,
            certificate=self.context.qualified(certificate),
            diagnostics=diagnostics,
            provenance=provenance(
                self.context,
                self.as_used(selector),
                len(indices),
                self.n,
                task,
                (*notes, *self.context.notes),
                settings or {},
            ),
        )

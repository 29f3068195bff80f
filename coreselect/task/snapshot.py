"""What one selection computes and caches; nothing of it outlives the selection.

A snapshot is a task at fixed (parameters, buffers, attack, seed, round). A restricted snapshot shares what the first one has
computed, and counts its examples 0…n−1 anew, so that a selector inside a selector needs to know nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from coreselect.errors import RequirementError
from coreselect.gradients.rows import Groups, Rows
from coreselect.gradients.sketch import Sketch
from coreselect.history import History, Record
from coreselect.network.layout import Layout
from coreselect.objectives.objective import Objective
from coreselect.protocols import Loss, Progress
from coreselect.support.clock import Clock
from coreselect.support.records import settings_of, versions
from coreselect.support.seeding import derive
from coreselect.types import Certificate, Diagnostics, Float64, Int64, Provenance, Selection


@dataclass
class Shared:
    """What a snapshot and its restrictions have in common."""

    seed: int
    round: int
    clock: Clock
    progress: Progress
    source: Int64  # pool position → position in the dataset that holdout was given
    fingerprint: str
    validation_indices: Int64 | None
    disjoint: str | None
    cache: dict[Any, Any] = field(default_factory=dict)


class Snapshot(ABC):
    """What a selector may ask for; positions it gives and takes are 0…n−1 of this snapshot."""

    needs_sketch = False  # whether rows are too long to hold as they are
    batch_loss = False  # whether a row is of a whole group and no single example
    stratified_by_labels = False  # whether "auto" deals groups by class
    fixed_groups: Groups | None = None  # groups that came with the task
    recorded: History | None = None  # of the whole pool, where training has recorded one

    def __init__(self, shared: Shared, positions: Int64) -> None:
        self.shared, self.positions = shared, positions
        self.seed, self.round, self.clock = shared.seed, shared.round, shared.clock
        self.draws = shared.seed  # what a selector seeds its own draws with; other for each part of a pool

    @property
    def n(self) -> int:
        """How many examples there are to choose from."""
        return len(self.positions)

    @property
    @abstractmethod
    def provides(self) -> frozenset[str]:
        """What there is, in the words of `Selector.requires`."""

    @abstractmethod
    def labels(self) -> Int64:
        """int64 [n]; raises RequirementError where there are none."""

    @abstractmethod
    def features(self) -> Tensor:
        """[n, D] of natural inputs; raises RequirementError where there are none."""

    @abstractmethod
    def logits(self) -> Tensor:
        """[n, C] of natural inputs; raises RequirementError where there are none."""

    @abstractmethod
    def layout(self) -> Layout:
        """Of the captured parameters."""

    @abstractmethod
    def theta(self) -> Tensor:
        """θ [P]."""

    @abstractmethod
    def rows(self, groups: Groups, sketch: Sketch | None = None) -> tuple[Rows, Tensor | None]:
        """Return the rows of these groups, and the groups' training losses [M] where there are any."""

    @abstractmethod
    def objective(self, spec: Objective) -> Any:
        """Open an objective on validation: an object with `query(θ′)`, `recraft(θ′)` and, for a model, values."""

    def record(self) -> dict[str, Any]:
        """Describe the model, loss and attack that rows came from; empty without a model."""
        return {}

    def misclassified(self) -> Tensor | None:
        """bool [n]: wrong on the inputs the loss trains on; None where there are no labels or no outputs."""
        return None

    def attacked_logits(self) -> Tensor:
        """[n, C] on the attacked inputs that the loss trains on; raises RequirementError where there are none."""
        raise none_such("attacked inputs", "give a model and an adversarial loss, such as loss='sat'")

    def history(self) -> Record:
        """What training has recorded of the n examples; raises RequirementError where nothing was."""
        if self.recorded is None:
            raise none_such("history", "record one while training and give history= to the task")
        return self.recorded.at(self.positions)

    def inputs(self) -> Iterator[tuple[Int64, Tensor, Tensor | None]]:
        """Yield (positions in this snapshot [B], inputs [B, …], labels [B] or None) over all examples, in order.

        Raises:
            RequirementError: there is no model, so there are no inputs.
        """
        raise none_such("inputs", "give a model and its pool (Task.from_model)")

    def outputs(self, x: Tensor) -> Tensor:
        """Logits [B, C] of inputs [B, …], natural route, evaluation mode; gradients flow to x.

        Raises:
            RequirementError: there is no model.
        """
        raise none_such("model", "use Task.from_model")

    def under(self, loss: Loss) -> Self:
        """Return a snapshot of the same model and examples whose rows are those of another loss, not attacked.

        Rows that came as arrays are of the loss they are of: the snapshot itself is returned.

        Raises:
            RequirementError: the loss reads labels and the network is trained without them: its outputs are no classes.
        """
        del loss
        return self

    def loss_gradient(self, held: Any) -> Tensor | None:
        """The training loss's gradient on validation [P], where it is cached; else None."""
        return None

    def restrict(self, indices: Sequence[int] | Int64, part: int = 0) -> Self:
        """Return the same snapshot over some of its examples, counted anew in the order given.

        Args:
            part: number of this part of the pool, so that selectors inside draw independently in each.
        """
        inner = self._over(self.positions[np.asarray(indices, dtype=np.int64)])
        inner.draws = derive(self.draws, "part", part)
        return inner

    @abstractmethod
    def _over(self, positions: Int64) -> Self: ...

    @contextmanager
    def snapshot(self, seed: int, round: int) -> Iterator[Self]:
        """A snapshot is its own: the selector inside a selector finds what the outer one has."""
        if (seed, round) != (self.seed, self.round):
            raise RequirementError(
                f"this snapshot is of seed {self.seed}, round {self.round}; a selector inside asked for {seed}, {round}: "
                "hand generator and round on as they came."
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
        """Put an answer together with its provenance; `indices` int64 [k] are positions in this snapshot."""
        indices = np.asarray(indices, dtype=np.int64)
        described = settings_of(selector)
        if not isinstance(described, dict):
            described = {}
        described.pop("type", None)
        return Selection(
            indices=indices,
            source_indices=self.shared.source[self.positions[indices]],
            groups=np.arange(len(indices)) if groups is None else np.asarray(groups, np.int64),
            gains=np.zeros(len(indices)) if gains is None else np.asarray(gains, np.float64),
            weights=None if weights is None else np.asarray(weights, np.float64),
            scores=None if scores is None else np.asarray(scores, np.float64),
            nested=nested,
            certificate=certificate,
            diagnostics=diagnostics,
            provenance=Provenance(
                selector=selector.name,
                settings={**described, **(settings or {})},
                budget=len(indices),
                pool_size=self.n,
                seed=self.seed,
                round=self.round,
                versions=versions(),
                seconds=dict(self.clock.seconds),
                fingerprint=self.shared.fingerprint,
                validation_indices=self.shared.validation_indices if "validation" in selector.requires else None,
                disjoint=self.shared.disjoint if "validation" in selector.requires else None,
                notes=notes,
                task=self.record() if "gradients" in selector.requires else {},
            ),
        )


def none_such(what: str, instead: str) -> RequirementError:
    """Say in one sentence that a task lacks something."""
    return RequirementError(f"this task has no {what}: {instead}.")


def mean_rows(values: Tensor, groups: Groups) -> Tensor:
    """Average [n, …] over each group: [M, …]."""
    return torch.stack([values[torch.from_numpy(np.asarray(g)).to(values.device)].mean(0) for g in groups])

"""The snapshot of a task without a model: the user's arrays, and a validation gradient that never changes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.errors import RequirementError
from coreselect.gradients.rows import DenseRows, Full, Groups, Rows, are_single_examples
from coreselect.gradients.sketch import Sketch
from coreselect.gradients.store import allocate
from coreselect.network.layout import Layout
from coreselect.objectives.objective import Objective
from coreselect.task.context import Context, missing
from coreselect.task.provenance import ARRAYS
from coreselect.task.recipe import ArrayRecipe
from coreselect.task.snapshot import Snapshot
from coreselect.types import Int64

SKETCHED_AT_ONCE = 4096  # rows


@dataclass(frozen=True)
class FixedQuery:
    """A validation gradient that the user computed: the same at every θ′, because there is no model to renew it with."""

    gradient: Tensor  # [P]

    def query(self, theta: Tensor) -> Tensor:
        """θ′ [P] → the given gradient [P]."""
        return self.gradient

    def recraft(self, theta: Tensor) -> None:
        """Raise an error: there is no model to attack."""
        raise RequirementError("recraft needs a model, and this task is made of arrays: use recraft='once'.")


class ArraySnapshot(Snapshot):
    """What one selection reads of the user's arrays."""

    def __init__(self, task: ArrayRecipe, context: Context, positions: Int64) -> None:
        super().__init__(context, positions)
        self.task, self.pool_history = task, task.history
        self.stratified_by_labels = task.labels is not None
        self.feature_width = None if task.features is None else task.features.shape[1]
        self.logit_width = None if task.logits is None else task.logits.shape[1]
        self.row_width = None if task.gradients is None else task.gradients.shape[1]
        self._is_whole_pool = np.array_equal(positions, np.arange(task.size))
        if task.groups is not None:
            if not self._is_whole_pool:
                raise RequirementError(
                    "this task has one gradient per group and cannot be restricted: give one gradient per example."
                )
            edges = np.cumsum(np.bincount(task.groups))[:-1]
            self.fixed_groups = np.split(np.argsort(task.groups, kind="stable"), edges)

    @property
    def provides(self) -> frozenset[str]:
        return self.task.provides

    def _restricted_to(self, positions: Int64) -> ArraySnapshot:
        return ArraySnapshot(self.task, self.context, positions)

    def _take(self, what: str) -> Any:
        values = getattr(self.task, what)
        if values is None:
            raise missing(what, f"give {what}= to Task.from_arrays")
        return values if self._is_whole_pool else values[self.positions]

    def labels(self) -> Int64:
        return self._take("labels")

    def features(self) -> Tensor:
        return as_tensor(self._take("features"))

    def logits(self) -> Tensor:
        return as_tensor(self._take("logits"))

    def record(self, *, of_rows: bool) -> dict[str, Any]:
        return {ARRAYS: sorted(self.provides)}

    def layout(self) -> Layout:
        return Layout(("gradient",), (torch.Size([self._gradients().shape[1]]),))

    def theta(self) -> Tensor:
        return torch.zeros(self._gradients().shape[1], dtype=self._gradients().dtype)

    def rows(
        self, groups: Groups, sketch: Sketch | None = None, *, spread: bool | None = False
    ) -> tuple[Rows, Tensor | None]:
        del spread  # ranks share no selection of arrays
        own = self._gradients()
        if self.fixed_groups is not None:
            return self._dense(own, groups, sketch), None
        if self._is_whole_pool and are_single_examples(groups, self.n):
            return self._dense(own, groups, sketch), None
        matrix = allocate(len(groups), own.shape[1], like=own[:1])
        with self.clock("rows"):
            for m, group in enumerate(groups):
                matrix[m] = self._mean(group)
        return self._dense(matrix, groups, sketch), None

    def _mean(self, members: Int64) -> Tensor:
        return self._gradients()[torch.from_numpy(self.positions[members])].mean(0)

    def _dense(self, matrix: Tensor, groups: Groups, sketch: Sketch | None) -> DenseRows:
        full = self._full(lambda m: matrix[m])
        if sketch is None:
            return DenseRows(matrix, groups, full=full, names=self.positions)
        small = torch.cat([sketch(block) for block in matrix.split(SKETCHED_AT_ONCE)])
        return DenseRows(small, groups, full=full, project=sketch, names=self.positions)

    def full_rows(self, groups: Groups) -> Full:
        own = self._gradients()
        return self._full(lambda m: own[m] if self.fixed_groups is not None else self._mean(groups[m]))

    def _full(self, whole: Callable[[int], Tensor]) -> Full:
        def full(m: int, kept: Int64 | None) -> Tensor:
            if kept is None or self.fixed_groups is not None:  # only the group's mean is known, not its members' rows
                return whole(m)
            return self._mean(kept)

        return full

    def objective(self, spec: Objective) -> FixedQuery:
        gradient = self.task.validation_gradient
        if gradient is None:
            raise missing("validation gradient", "give validation_gradient= to Task.from_arrays")
        return FixedQuery(as_tensor(gradient))

    def _gradients(self) -> Tensor:
        if self.task.gradients is None:
            raise missing("gradients", "give gradients= to Task.from_arrays")
        return as_tensor(self.task.gradients)


def as_tensor(array: NDArray[Any]) -> Tensor:
    """View an array as a tensor without a copy; nothing writes to it, so a read-only (memory-mapped) array is fine."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)

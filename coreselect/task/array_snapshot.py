"""The snapshot of a task without a model: rows, features and a validation gradient that the user brought as arrays."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.errors import RequirementError
from coreselect.gradients.rows import DenseRows, Groups, Rows, are_single_examples
from coreselect.gradients.sketch import Sketch
from coreselect.gradients.store import allocate
from coreselect.network.layout import Layout
from coreselect.objectives.objective import Objective
from coreselect.task.recipe import ArrayRecipe
from coreselect.task.snapshot import Shared, Snapshot, none_such
from coreselect.types import Int64


@dataclass(frozen=True)
class FixedQuery:
    """A validation gradient that was computed elsewhere: it is the same at every θ′, for nothing is known to renew it from."""

    gradient: Tensor  # [P]

    def query(self, theta: Tensor) -> Tensor:
        """θ′ [P] → the gradient given [P]."""
        return self.gradient

    def recraft(self, theta: Tensor) -> None:
        """Refuse: there is no model to attack."""
        raise RequirementError("recraft needs a model, and this task is made of arrays: use recraft='once'.")


class ArraySnapshot(Snapshot):
    """One selection's view of the user's arrays."""

    def __init__(self, task: ArrayRecipe, shared: Shared, positions: Int64) -> None:
        super().__init__(shared, positions)
        self.task, self.recorded = task, task.history
        self.stratified_by_labels = task.labels is not None
        self._whole = np.array_equal(positions, np.arange(task.size))  # all of the pool, in its own order
        if task.groups is not None:
            if not self._whole:
                raise RequirementError(
                    "a task whose gradients are of groups cannot be restricted: give gradients per example."
                )
            edges = np.cumsum(np.bincount(task.groups))[:-1]
            self.fixed_groups = np.split(np.argsort(task.groups, kind="stable"), edges)

    @property
    def provides(self) -> frozenset[str]:
        return self.task.provides

    def _over(self, positions: Int64) -> ArraySnapshot:
        return ArraySnapshot(self.task, self.shared, positions)

    def _take(self, what: str) -> Any:
        values = getattr(self.task, what)
        if values is None:
            raise none_such(what, f"give {what}= to Task.from_arrays")
        return values if self._whole else values[self.positions]

    def labels(self) -> Int64:
        return self._take("labels")

    def features(self) -> Tensor:
        return as_tensor(self._take("features"))

    def logits(self) -> Tensor:
        return as_tensor(self._take("logits"))

    def layout(self) -> Layout:
        return Layout(("gradient",), (torch.Size([self._gradients().shape[1]]),))

    def theta(self) -> Tensor:
        return torch.zeros(self._gradients().shape[1], dtype=self._gradients().dtype)

    def rows(self, groups: Groups, sketch: Sketch | None = None) -> tuple[Rows, Tensor | None]:
        own = self._gradients()
        if self.fixed_groups is not None:
            return self._dense(own, groups, sketch), None
        if self._whole and are_single_examples(groups, self.n):
            return self._dense(own, groups, sketch), None
        matrix = allocate(len(groups), own.shape[1], like=own[:1])
        with self.clock("rows"):
            for m, group in enumerate(groups):
                matrix[m] = self._mean(group)
        return self._dense(matrix, groups, sketch), None

    def _mean(self, members: Int64) -> Tensor:
        return self._gradients()[torch.from_numpy(self.positions[members])].mean(0)

    def _dense(self, matrix: Tensor, groups: Groups, sketch: Sketch | None) -> DenseRows:
        def full(m: int, kept: Int64 | None) -> Tensor:
            if kept is None or self.fixed_groups is not None:  # a group's own mean is all that is known of its members
                return matrix[m]
            return self._mean(kept)

        if sketch is None:
            return DenseRows(matrix, groups, full=full, names=self.positions)
        small = torch.cat([sketch(block) for block in matrix.split(4096)])
        return DenseRows(small, groups, full=full, project=sketch, names=self.positions)

    def objective(self, spec: Objective) -> FixedQuery:
        gradient = self.task.validation_gradient
        if gradient is None:
            raise none_such("validation gradient", "give validation_gradient= to Task.from_arrays")
        return FixedQuery(as_tensor(gradient))

    def _gradients(self) -> Tensor:
        if self.task.gradients is None:
            raise none_such("gradients", "give gradients= to Task.from_arrays")
        return as_tensor(self.task.gradients)


def as_tensor(array: NDArray[Any]) -> Tensor:
    """View an array as a tensor without copying; nobody writes to it, so one that is read-only (memory-mapped) will do."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)

"""The validation inputs of one selection: read once, in their evaluation view, in an order fixed by the seed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coreselect.data.reading import chunks, class_numbers, read
from coreselect.errors import RequirementError
from coreselect.gradients.inputs import digest, in_precision, refuse_inputs, to_device
from coreselect.support.structure import joined, mapped, taken
from coreselect.task.recipe import ModelRecipe


@dataclass(frozen=True)
class Validation:
    """Validation inputs in memory.

    Attributes:
        inputs: [|U|, …] on the model's device.
        labels: class numbers int64 [|U|], or None.
        targets: as the items carry them, [|U|, …], or None.
        digests: of the inputs as they were read; empty unless pool and validation are compared by hashes.
    """

    inputs: Any
    labels: Tensor | None
    targets: Any
    digests: frozenset[bytes]


def read_validation(
    task: ModelRecipe, seed: int, device: torch.device, dtype: torch.dtype, *, hashed: bool
) -> Validation:
    """Read a task's validation set.

    Args:
        hashed: whether to compute digests, to compare them with those of the pool.
    Raises:
        RequirementError: the task has no validation set.
        NonFiniteError: an input is not finite; `indices` are validation positions.
    """
    if task.validation is None:
        raise RequirementError("this task has no validation set: split one off with coreselect.holdout.")
    inputs: list[Any] = []
    targets: list[Any] = []
    digests: set[bytes] = set()
    everything = chunks(np.arange(len(task.validation), dtype=np.int64), task.batch_size)
    workers = task.num_workers if task.timeout else 0
    for positions, x, y in read(
        task.validation,
        everything,
        seed=seed,
        path=("validation",),
        unpack=task.unpack,
        num_workers=workers,
        timeout=task.timeout,
        raw=True,
    ):
        if hashed:
            digests.update(digest(taken(x, i)) for i in range(len(positions)))
        x = in_precision(x, dtype)
        refuse_inputs(positions, x, "validation")
        inputs.append(to_device(x, device))
        targets.append(y)
    y = None if any(part is None for part in targets) else mapped(lambda t: t.to(device), joined(targets))
    classes = task.validation_targets is not None and task.validation_targets.classes
    labels = class_numbers(y, len(task.validation)) if classes else None
    return Validation(joined(inputs), labels, y, frozenset(digests))

"""The validation inputs of one selection: read once, in their evaluation view, in an order fixed by the seed."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coreselect.data.reading import chunks, read
from coreselect.errors import RequirementError
from coreselect.gradients.inputs import digest, refuse_inputs, to_model
from coreselect.task.recipe import ModelRecipe


@dataclass(frozen=True)
class Validation:
    """Validation inputs in memory.

    Attributes:
        inputs: [|U|, …] on the model's device.
        labels: int64 [|U|], or None.
        digests: of the inputs as they were read; empty unless pool and validation are compared by hashes.
    """

    inputs: Tensor
    labels: Tensor | None
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
    inputs: list[Tensor] = []
    labels: list[Tensor | None] = []
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
    ):
        if hashed:
            digests.update(digest(one) for one in x)
        x = to_model(x, device, dtype)
        refuse_inputs(positions, x, "validation")
        inputs.append(x)
        labels.append(y)
    known = [y for y in labels if y is not None]
    return Validation(
        torch.cat(inputs), torch.cat(known).to(device) if len(known) == len(labels) else None, frozenset(digests)
    )

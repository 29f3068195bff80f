"""A selection that was made before, as a method: the run trains on it from the first epoch to the last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import Subset

from coreselect import Selection
from coreselect.budget import Budget
from coreselect.errors import RequirementError
from coreselect.io.fingerprint import fingerprint
from coreselect.protocols import TaskLike
from coreselect.support.records import digest_of
from coreselect.task.provenance import ARRAYS


class FixedCoreset:
    """Choose what `selection` holds; the sampler hands its weights to the loss.

    Raises:
        RequirementError: when it chooses: the selection was made from another pool.
    """

    name = "coreset"
    requires = frozenset[str]()
    renew = "never"

    def __init__(self, selection: Selection) -> None:
        self.selection = selection

    def __repr__(self) -> str:
        return f"FixedCoreset({len(self.selection)} examples, {self.digest})"

    @property
    def digest(self) -> str:
        """What tells this selection from another: a digest of its indices and weights."""
        parts = {"indices": self.selection.indices, "weights": self.selection.weights}
        return digest_of({name: torch.from_numpy(np.asarray(v)) for name, v in parts.items() if v is not None}, 8)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        """Return the selection, as that of this round."""
        check_pool(self.selection, task.fingerprint())  # type: ignore[attr-defined]  # a task of a run has it
        return replace(self.selection, provenance=replace(self.selection.provenance, round=round))


def made_of_arrays(selection: Selection) -> bool:
    """Return whether a selection was made from arrays, such as features, so that it does not know the images of its pool."""
    made = selection.provenance
    return ARRAYS in made.task or (not made.task and bool(made.command.get("options", {}).get("features")))


def check_pool(selection: Selection, fingerprint: str) -> None:
    """Refuse a pool that a selection was not made from; for one made of arrays, only `pool_of` can compare, by the size.

    Raises:
        RequirementError: the fingerprints differ.
    """
    made_from = selection.provenance.fingerprint
    if made_from != fingerprint and not made_of_arrays(selection):
        why = (
            f"the coreset was made from the pool {made_from}, this one is {fingerprint}: give the data, rows, size and held-out "
            "images that it was selected with."
        )
        raise RequirementError(why)


def pool_of(selection: Selection, dataset: Any, divide: Callable[[], tuple[Any, Any]], name: str) -> tuple[Any, Any]:
    """Divide a dataset into the pool that a selection was made from, and the images that were held out then.

    Args:
        dataset: as `coreselect select` read it.
        divide: returns (pool, held out) by the settings of the run; it is called if the selection does not know them.
        name: of the file, in messages.
    Raises:
        RequirementError: the dataset is another one, or is split in another way.
    """
    made, n = selection.provenance, len(dataset)
    if made.command.get("joined"):
        raise RequirementError(
            f"{name} draws from the validation set too, which is no part of the data: train with that --selector again."
        )
    if made.command.get("conditions"):
        raise RequirementError(
            f"{name} was made in a pool that was impure on purpose, and the data are not: select while training, by --pool and "
            "--selector."
        )
    held = made.validation_indices
    own = "data" in made.command.get("validation", {})  # then positions are those in a validation set of the user's
    if held is not None and not own and len(held) and held.max() < n:
        kept = np.setdiff1d(np.arange(n), held)
        split = Subset(dataset, kept.tolist()), Subset(dataset, held.tolist())
    elif made.pool_size == n:
        split = Subset(dataset, list(range(n))), Subset(dataset, [])
    else:
        split = divide()
    if len(split[0]) != made.pool_size:
        why = (
            f"{name} was made from a pool of {made.pool_size:,} images, and {len(split[0]):,} of the {n:,} given are the pool: "
            "give the --data, --rows, --size, --validation and --seed that it was selected with."
        )
        raise RequirementError(why)
    check_pool(selection, fingerprint(split[0]))
    return split

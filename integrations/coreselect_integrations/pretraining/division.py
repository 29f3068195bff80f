"""How the data of a run are divided: a pool, under conditions or as it is, and validation, held out or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from coreselect import holdout
from coreselect.budget import count_or_share
from coreselect.data.conditions import Conditions, describe
from coreselect.io.fingerprint import fingerprint
from coreselect_integrations.evaluation.generated import Generated
from coreselect_integrations.pretraining.dataset_shape import read_labels


@dataclass(frozen=True, slots=True)
class Division:
    """What becomes of a dataset that a run is given.

    Attributes:
        conditions: of the pool, applied after the holdout; None leaves it as it is.
        foreign: the images that replace some of the pool, where the conditions say so.
        validation: a validation set of the user's, in place of held-out images; no condition changes it.
    """

    conditions: Conditions | None = None
    foreign: Any = None
    validation: Any = None

    def split(self, dataset: Any, size: float, seed: int) -> tuple[Any, Any]:
        """Return (pool, validation); equal seeds give equal ones.

        Args:
            dataset: the training images.
            size: how many are held out, a share below 1 or a count; without effect beside a validation set of the user's.
            seed: of the holdout and of the conditions.
        Raises:
            BudgetError: one part would be empty.
            RequirementError: there are too few foreign images.
            DataError: the pool has no labels, and conditions need them.
        """
        if self.validation is not None:
            pool, held = dataset, self.validation
        else:
            pool, held = holdout(dataset, count_or_share(size), seed)
            held = self.shifted(held)
        if self.conditions is not None:
            pool = self.conditions.applied(pool, read_labels(pool), seed=seed, foreign=self.foreign)
        return pool, held

    def shifted(self, clean: Any) -> Any:
        """Return held-out or test images under the shift of the conditions; without one, as they are."""
        if self.conditions is None or self.conditions.shift is None:
            return clean
        return Generated(clean, self.conditions.shift, self.conditions.severity)

    def record(self, seed: int | None = None) -> Mapping[str, Any]:
        """Return what a run or a comparison records of it, as values that JSON can hold; empty for a plain holdout."""
        out: dict[str, Any] = {}
        if self.conditions is not None:
            out["conditions"] = describe(self.conditions, seed or 0)
            if seed is None:
                del out["conditions"]["seed"]  # each seed of a comparison has a pool of its own
        if self.validation is not None:
            out["validation_data"] = fingerprint(self.validation)
        return out


PLAIN = Division()
NOT_DIVIDED: Mapping[str, Any] = MappingProxyType({"conditions": None, "validation_data": None})  # of a plain holdout

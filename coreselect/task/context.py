"""What all snapshots of one selection share: seed, round, clock, progress, provenance of the data, and a cache."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from coreselect.gradients.parts import Parts, alone
from coreselect.protocols import Progress
from coreselect.support.clock import Clock
from coreselect.types import Int64


@dataclass
class Context:
    """What a snapshot has in common with its restrictions.

    Attributes:
        source: int64 [N], pool position → position in the dataset that `holdout` was given.
        fingerprint: identity of the pool.
        validation_indices: positions of the validation examples in their dataset, or None.
        fixed: the names of the parameters of the model that are not trained.
        disjoint: how pool and validation were shown to be disjoint, or None without validation.
        parts: how the records of a sweep come about.
        notes: for the provenance of the selection.
        cache: results that do not depend on a restriction.
    """

    seed: int
    round: int
    clock: Clock
    progress: Progress
    source: Int64
    fingerprint: str
    validation_indices: Int64 | None
    disjoint: str | None
    fixed: frozenset[str] = frozenset()
    parts: Parts = alone
    notes: list[str] = field(default_factory=list)
    cache: dict[Any, Any] = field(default_factory=dict)

    def note(self, sentence: str) -> None:
        """Add a note to the provenance of the selection, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def cached(self, key: Any, compute: Callable[[], Any]) -> Any:
        """Return the result for a key, and compute it at the first call."""
        if key not in self.cache:
            self.cache[key] = compute()
        return self.cache[key]

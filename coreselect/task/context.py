"""What all snapshots of one selection share: seed, round, clock, progress, provenance of the data, and a cache."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from coreselect.errors import RequirementError
from coreselect.gradients.parts import Parts, alone
from coreselect.protocols import Progress
from coreselect.support.clock import Clock
from coreselect.types import Certificate, Int64


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
        own_parts: the same, of a sweep that no other rank takes part in.
        machine: what numbers depend on where they are not computed on the CPU: device, driver, precision.
        loose: operations of the model that have no deterministic kernel on the device.
        notes: for the provenance of the selection.
        cache: results that do not depend on a restriction.
        kept: what selectors keep of the whole pool until a sampler's round ends; None without a sampler.
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
    own_parts: Parts = alone
    machine: Mapping[str, str] = field(default_factory=dict)
    loose: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    cache: dict[Any, Any] = field(default_factory=dict)
    kept: dict[str, Int64] | None = None

    def note(self, sentence: str) -> None:
        """Add a note to the provenance of the selection, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def qualified(self, certificate: Certificate | None) -> Certificate | None:
        """Add to a certificate what its numbers assume about the device that computed them; on the CPU nothing."""
        if certificate is None or not self.machine:
            return certificate
        where = self.machine["device"]
        more = [
            f"rows and queries are rounded as on {where}; another device, or another batch size, may round otherwise"
        ]
        if self.loose:
            more.append(
                f"{', '.join(sorted(self.loose))} has no deterministic kernel on {where}: a second selection may differ"
            )
        return replace(certificate, assumptions=(*certificate.assumptions, *more))

    def cached(self, key: Any, compute: Callable[[], Any]) -> Any:
        """Return the result for a key, and compute it at the first call."""
        if key not in self.cache:
            self.cache[key] = compute()
        return self.cache[key]

    def keep(self, name: str, n: int, compute: Callable[[], Int64]) -> Int64:
        """Return an array over n examples that outlives this selection, until the round of a sampler ends.

        Only the whole pool's is kept; that of a part, or without a sampler, is computed at each selection.
        """
        if self.kept is None or n < len(self.source):
            return compute()
        if name not in self.kept:
            self.kept[name] = compute()
        return self.kept[name]


def missing(what: str, instead: str) -> RequirementError:
    """Return the error for something that a task does not have."""
    return RequirementError(f"this task has no {what}: {instead}.")

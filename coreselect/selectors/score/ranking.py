"""Keep the k examples of highest, or lowest, score: the base of every selector that scores single examples."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import UnknownNameError
from coreselect.protocols import TaskLike
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64, Selection

End = Literal["highest", "lowest"]


@dataclass(frozen=True, eq=False)
class Scores:
    """A score of every example.

    Attributes:
        values: [n]; may be infinite, but not NaN.
        notes: notes for the selection's provenance.
    """

    values: Float64
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ranked(ABC):
    """Keep the k examples at one end of a score. Scores are compared in float64; ties go to the lowest index.

    Attributes:
        needs: what `requires` returns, unless it depends on settings.
        hard: the end of the score with the difficult examples; it is kept unless a method says otherwise.
    """

    name: ClassVar[str]
    renew = "round"
    needs: ClassVar[frozenset[str]] = frozenset()
    hard: ClassVar[End] = "highest"

    @property
    def requires(self) -> frozenset[str]:
        return self.needs

    @property
    def end(self) -> End:
        """The end of the score that is kept."""
        return self.hard

    @abstractmethod
    def score(self, snapshot: Snapshot) -> Scores:
        """Return the score of every example with its published sign."""

    def hardness(self, values: Float64) -> Float64:
        """Turn scores [n] so that larger is harder; infinities become one less than the smallest or one more than the largest."""
        h = values if self.hard == "highest" else -values
        known = h[np.isfinite(h)]
        low, high = (known.min() - 1, known.max() + 1) if len(known) else (0.0, 0.0)
        return np.clip(h, low, high)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k = resolve(budget, snapshot.n)
            found = self.score(snapshot)
            picks = rank(found.values, self.end)[:k]
            return snapshot.selection(self, picks, scores=found.values, nested=True, notes=found.notes)


def rank(score: Float64, end: End) -> Int64:
    """Return the positions of `score` [n] from the given end on; ties in order of position."""
    return np.argsort(-score if end == "highest" else score, kind="stable").astype(np.int64)


def check_end(end: str) -> None:
    """Raise UnknownNameError if this is not an end of a score."""
    if end not in ("highest", "lowest"):
        raise UnknownNameError(f"keep must be 'highest' or 'lowest', got {end!r}.")

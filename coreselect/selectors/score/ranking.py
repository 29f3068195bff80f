"""Keep the k examples of highest, or lowest, score: what every selector by a score of single examples has in common."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor

from coreselect.budget import Budget, resolve
from coreselect.errors import NonFiniteError, RequirementError, ShapeError, UnknownNameError, first_few
from coreselect.gradients.inputs import refuse_labels
from coreselect.history import Record
from coreselect.protocols import TaskLike
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64, Selection

End = Literal["highest", "lowest"]


@dataclass(frozen=True, eq=False)
class Scores:
    """A score of every example, [n] (infinite allowed, NaN not), and what the selection's notes should say of it."""

    values: Float64
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ranked(ABC):
    """Keep the k examples at one end of a score; decided in float64, ties to the lowest index.

    `needs` is what `requires` says unless it depends on settings; `hard` is the end of the score where the difficult examples
    are, kept unless a method says otherwise.
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
        """The end that is kept."""
        return self.hard

    @abstractmethod
    def score(self, shot: Snapshot) -> Scores:
        """Return the published score of every example, as it was published (not turned round)."""

    def hardness(self, values: Float64) -> Float64:
        """Turn scores [n] so that larger is harder, infinities brought to one beyond the largest and the smallest."""
        h = values if self.hard == "highest" else -values
        known = h[np.isfinite(h)]
        low, high = (known.min() - 1, known.max() + 1) if len(known) else (0.0, 0.0)
        return np.clip(h, low, high)

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k = resolve(budget, shot.n)
            found = self.score(shot)
            picks = rank(found.values, self.end)[:k]
            return shot.selection(self, picks, scores=found.values, nested=True, notes=found.notes)


def rank(score: Float64, end: End) -> Int64:
    """Return the positions of `score` [n] from its highest, or lowest, on; equals in the order of their positions."""
    return np.argsort(-score if end == "highest" else score, kind="stable").astype(np.int64)


def check_end(end: str) -> None:
    """Refuse an end of the score that is neither."""
    if end not in ("highest", "lowest"):
        raise UnknownNameError(f"an end of a score is 'highest' or 'lowest', got {end!r}.")


def finite(values: Tensor, what: str, positions: Int64) -> NDArray[Any]:
    """Return values [B, …] as an array, float64; those that are not finite are refused by their examples' positions [B].

    Raises:
        NonFiniteError: NaN or infinity.
    """
    array = values.detach().to("cpu", torch.float64).numpy()
    bad = positions[~np.isfinite(array.reshape(len(array), -1)).all(1)].tolist()
    if bad:
        raise NonFiniteError(
            f"{what} of {len(bad)} examples hold NaN or infinity (positions {first_few(bad)}): look whether the model has "
            "diverged.",
            bad,
        )
    return array


def log_probabilities(shot: Snapshot, *, attacked: bool = False) -> Float64:
    """Return log softmax of natural, or attacked, logits: [n, C] in float64, C ≥ 2.

    Raises:
        ShapeError: there is one output and no classes.
        NonFiniteError: logits hold NaN or infinity.
    """
    z = finite(shot.attacked_logits() if attacked else shot.logits(), "logits", shot.positions)
    if z.shape[1] < 2:
        raise ShapeError(f"a score of classes needs logits of at least 2 outputs, got {z.shape[1]}: widen the head.")
    return log_softmax(z, axis=1)


def class_labels(shot: Snapshot, classes: int) -> Int64:
    """Return the labels [n], refused where they number no class of 0…classes−1."""
    y = shot.labels()
    refuse_labels(shot.positions, torch.from_numpy(y), classes)
    return y


def recorded(shot: Snapshot, *, attacked: bool = False) -> tuple[Record, tuple[str, ...]]:
    """Return what training has recorded, and a note of which inputs it was; `attacked` insists on attacked ones.

    Raises:
        RequirementError: there is no history, nothing was recorded in it, or it is of natural inputs and attacked ones were
            asked for.
    """
    record = shot.history()
    if not record.seen.any() and not record.columns["input_norm_seen"].any():
        raise RequirementError(
            f"this history has recorded none of the {shot.n} examples: train at least one epoch with it before selecting."
        )
    if attacked and not record.attacked:
        raise RequirementError(
            "this history is of natural inputs and attacked ones are needed: record attacked logits with "
            "record(…, attacked=True), as adversarial training does."
        )
    return record, ("the history is of attacked inputs",) if record.attacked else ()

"""The history of training: what a run has seen of each example, in O(N) memory, recorded by two lines in any loop.

    history = History(len(pool))
    for x, y, i in loader:  # DataLoader(Indexed(pool), …)
        history.record(i, logits, y)

Methods of training dynamics read it. With logits z, p = softmax z and label y, it keeps for each example, over the times t
that it was seen:

    seen           the number of times
    forgotten      the number of transitions from correct to incorrect between one time and the next
    learned        whether it was ever correct
    margin_sum     Σ_t z_y − max_{c≠y} z_c
    el2n_sum       Σ_t ‖p − e_y‖₂
    last_el2n      ‖p − e_y‖₂, the last time
    last_loss      −log p_y, the last time
    p_sum, p_squares   Σ_t p_y, Σ_t p_y²
    input_norm_sum, input_norm_seen   Σ_t ‖∇_x ℓ‖₂ and the number of times, from `record_input_norms`
    features       the head's inputs, the last time, from `record_features`
    given_loss, loss_seen   the loss, the last time, and the number of times, from `record_losses`: for training without
                            classes, which has no logits, or with a loss other than −log p_y
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor

from coreselect.errors import NonFiniteError, RequirementError, ShapeError, first_few
from coreselect.support.array_checks import integers, real_numbers
from coreselect.support.collectives import gathered
from coreselect.support.recorded_features import RecordedFeatures
from coreselect.support.training_record import Record, columns_of_state, empty_columns, state_of_columns
from coreselect.support.type_checks import whole
from coreselect.types import Float64, Int64

__all__ = ["History", "Record", "gathered"]

Integers = Tensor | NDArray[Any] | Sequence[int]


class History:
    """The recorder of what a training loop sees of each example.

    In a process group every process sees a part of the epoch. There, every process records what all of them have seen:

        history.record(*gathered(i, logits, y))

    Args:
        n: N ≥ 1, the number of examples in the pool.
        classes: C ≥ 2, the width of the logits; None: the width of the first batch.
        features: whether it keeps the head's inputs too, for `RCS(rows="recorded")`.
    Raises:
        ShapeError: one of the numbers is too small, or no whole number.
    """

    def __init__(self, n: int, classes: int | None = None, *, features: bool = False) -> None:
        n = whole("n, the examples of a history,", n, ShapeError, least=1)
        if classes is not None:
            classes = whole("classes of a history", classes, ShapeError, least=2)
        self.n, self.classes = n, classes
        self.attacked: bool | None = None  # whether the logits are those of attacked inputs; set by the first batch
        self._columns = empty_columns(n)
        self.features = RecordedFeatures(n) if features else None

    def __len__(self) -> int:
        return self.n

    def record(self, indices: Integers, logits: Tensor, labels: Integers, *, attacked: bool = False) -> None:
        """Record the logits of one batch. A batch that is refused changes nothing.

        Args:
            indices: int [B], positions in the pool (`Indexed(pool)` yields them); an example may occur more than once.
            logits: z [B, C], finite, on any device and in any precision; no gradient is kept.
            labels: y, int [B], in 0…C−1.
            attacked: whether the inputs were attacked; one history holds either natural or attacked logits.
        Raises:
            ShapeError: the lengths differ, or an index, a label or the width is out of range.
            NonFiniteError: logits hold NaN or infinity.
            RequirementError: the history would hold natural and attacked logits.
        """
        i, y = self._positions(indices), _integers("labels", labels)
        if logits.ndim != 2 or not len(i) == len(y) == len(logits):
            raise ShapeError(
                f"a batch needs indices [B], logits [B, C] and labels [B], got {list(i.shape)}, {list(logits.shape)} and "
                f"{list(y.shape)}."
            )
        z = real_numbers("logits", logits, torch.float64)  # [B, C]
        width = self.classes or z.shape[1]
        if z.shape[1] != width or width < 2 or (len(y) and not 0 <= y.min() <= y.max() < width):
            raise ShapeError(
                f"logits {list(z.shape)} and labels {y.min(initial=0)}…{y.max(initial=0)} do not fit "
                f"{max(width, 2)} classes: give one logit per class and labels numbered from 0."
            )
        bad = i[~np.isfinite(z).all(1)].tolist()
        if bad:
            raise NonFiniteError(
                f"logits of {len(bad)} examples hold NaN or infinity (positions {first_few(bad)}): check whether the model has "
                "diverged.",
                bad,
            )
        if self.attacked not in (None, attacked):
            own, new = ("attacked", "natural") if self.attacked else ("natural", "attacked")
            raise RequirementError(
                f"this history holds {own} logits and was given {new} logits: record those in a second History."
            )
        if len(i):
            self.classes, self.attacked = width, attacked
        self._add(i, z, y)

    def _add(self, i: Int64, z: Float64, y: Int64) -> None:
        while len(i):  # first record each example once, then its repetitions
            _, first = np.unique(i, return_index=True)
            self._add_unique(i[first], z[first], y[first])
            i, z, y = np.delete(i, first), np.delete(z, first, 0), np.delete(y, first)

    def _add_unique(self, i: Int64, z: Float64, y: Int64) -> None:
        own, at = self._columns, np.arange(len(i))
        log_p = log_softmax(z, axis=1)  # [B, C]
        residual = np.exp(log_p)
        p_y = residual[at, y]
        residual[at, y] -= 1.0  # p − e_y
        others = z.copy()
        others[at, y] = -np.inf
        correct = z.argmax(1) == y
        own["seen"][i] += 1
        own["forgotten"][i] += own["correct"][i] & ~correct
        own["learned"][i] |= correct
        own["correct"][i] = correct
        own["margin_sum"][i] += z[at, y] - others.max(1)
        el2n = np.linalg.norm(residual, axis=1)
        own["el2n_sum"][i] += el2n
        own["last_el2n"][i] = el2n
        own["last_loss"][i] = -log_p[at, y]
        own["p_sum"][i] += p_y
        own["p_squares"][i] += p_y**2

    def record_input_norms(self, indices: Integers, norms: Tensor) -> None:
        """Record ‖∇_x ℓ(x_i, y_i)‖₂ of one batch; the method `aign` reads the mean over training.

        Args:
            indices: int [B], positions in the pool.
            norms: [B], finite, ≥ 0.
        Raises:
            ShapeError: the lengths differ, or an index is out of range.
            NonFiniteError: a norm is NaN or infinite.
        """
        i, values = self._values(indices, norms, "norms", "input gradients")
        np.add.at(self._columns["input_norm_sum"], i, values)
        np.add.at(self._columns["input_norm_seen"], i, 1)

    def record_features(self, indices: Integers, features: Tensor) -> None:
        """Record what the head has read of each example in a training batch: the inputs of the loss's only forward pass.

        Args:
            indices: int [B], positions in the pool.
            features: [B, …], finite in half precision, on any device; no gradient is kept.
        Raises:
            RequirementError: this history keeps no features.
            ShapeError: the lengths differ, an index is out of range, or features have another shape than before.
            NonFiniteError: features are not finite.
        """
        if self.features is None:
            raise RequirementError("this history keeps no features: make it by History(n, features=True).")
        self.features.record(self._positions(indices), features)

    def record_losses(self, indices: Integers, losses: Tensor) -> None:
        """Record the training losses of one batch, for training without class logits or with a loss other than −log p_y.

        After the first call, `Record.loss` returns these losses and no longer −log p_y. Methods that read logits refuse
        examples without recorded logits. A batch that is refused changes nothing.

        Args:
            indices: int [B], positions in the pool; if an example occurs twice, its second loss counts.
            losses: [B], finite, before weighting, on any device; no gradient is kept.
        Raises:
            ShapeError: the lengths differ, or an index is out of range.
            NonFiniteError: a loss is NaN or infinite.
        """
        i, values = self._values(indices, losses, "losses", "losses")
        self._columns["given_loss"][i] = values
        np.add.at(self._columns["loss_seen"], i, 1)

    def _values(self, indices: Integers, values: Tensor, name: str, what: str) -> tuple[Int64, Float64]:
        """Return the positions [B] and their values [B], float64, after checking both."""
        i, array = self._positions(indices), real_numbers(name, values, torch.float64)
        if array.shape != i.shape:
            raise ShapeError(f"indices {list(i.shape)} need as many {name}, got {list(array.shape)}.")
        bad = i[~np.isfinite(array)].tolist()
        if bad:
            raise NonFiniteError(
                f"{what} of {len(bad)} examples are not finite (positions {first_few(bad)}): check whether the model has diverged.",
                bad,
            )
        return i, array

    @property
    def without_logits(self) -> bool:
        """Whether losses were recorded, and logits never."""
        return self.attacked is None and bool(self._columns["loss_seen"].any())

    def at(self, positions: Int64) -> Record:
        """Return what the history knows of some examples, as a copy that later batches do not change."""
        found = {name: column[positions] for name, column in self._columns.items()}
        return Record(positions, self.attacked, found, losses_recorded=bool(self._columns["loss_seen"].any()))

    def state_dict(self) -> dict[str, Any]:
        """Return everything as plain values and tensors [N], which `torch.load(weights_only=True)` can read."""
        features = {} if self.features is None else self.features.state()
        own = {"n": self.n, "classes": self.classes, "attacked": self.attacked}
        return {**own, **state_of_columns(self._columns), **features}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned.

        A state of an earlier version has no last ‖p − e_y‖₂; the mean takes its place until the example is seen again.

        Raises:
            ShapeError: the state is of another number of examples, or not the state of a history.
        """
        columns = columns_of_state(state, self.n)
        if self.features is not None:
            self.features.load(state)
        self.classes, self.attacked, self._columns = state["classes"], state["attacked"], columns

    def _positions(self, indices: Integers) -> Int64:
        i = _integers("indices", indices)
        if len(i) and not 0 <= i.min() <= i.max() < self.n:
            raise ShapeError(
                f"indices {i.min()}…{i.max()} lie outside 0…{self.n - 1}, the pool of this history: take them from Indexed(pool)."
            )
        return i


def _integers(name: str, values: Integers) -> Int64:
    """Return the values as int64 [B]; an empty list counts as integers."""
    plain = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    array = integers(name, plain if len(plain) else np.zeros(0, np.int64))
    assert array is not None  # there were values
    return array

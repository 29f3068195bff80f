"""What a run has seen of each example: sums that training-dynamics methods read, O(N) memory, two lines in any loop.

    history = History(len(pool))
    for x, y, i in loader:  # DataLoader(Indexed(pool), …)
        history.record(i, logits, y)

With logits z, p = softmax(z), label y, per example and summed over the times t that it was seen:

    seen           how often
    forgotten      transitions correct → incorrect between one time and the next
    learned        whether it was ever correct
    margin_sum     Σ_t z_y − max_{c≠y} z_c
    el2n_sum       Σ_t ‖p − e_y‖₂
    last_el2n      ‖p − e_y‖₂, the last time
    last_loss      −log p_y, the last time
    p_sum, p_squares   Σ_t p_y, Σ_t p_y²
    input_norm_sum, input_norm_seen   Σ_t ‖∇_x ℓ‖₂ and how often, where `record_input_norms` is called
    given_loss, loss_seen   the loss itself, the last time, and how often, where `record_losses` is called: for training
                            without classes, which has no logits, or by another loss than −log p_y
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import log_softmax
from torch import Tensor

from coreselect.errors import NonFiniteError, RequirementError, ShapeError, first_few
from coreselect.support.array_checks import integers
from coreselect.types import Float64, Int64

Integers = Tensor | NDArray[Any] | Sequence[int]

_COLUMNS: dict[str, Any] = {
    "seen": np.int64,
    "forgotten": np.int64,
    "learned": np.bool_,
    "correct": np.bool_,
    "margin_sum": np.float64,
    "el2n_sum": np.float64,
    "last_loss": np.float64,
    "p_sum": np.float64,
    "p_squares": np.float64,
    "input_norm_sum": np.float64,
    "input_norm_seen": np.int64,
    "last_el2n": np.float64,
    "given_loss": np.float64,
    "loss_seen": np.int64,
}
_LATER = frozenset({"last_el2n", "given_loss", "loss_seen"})  # columns that states of earlier versions lack


@dataclass(frozen=True, eq=False)
class Record:
    """What a history holds of some examples; every array is [n], in the order of `positions`.

    The means refuse examples that were never seen, by name (RequirementError): no number stands for nothing.

    Attributes:
        positions: int64, of the whole pool.
        attacked: whether the logits were of attacked inputs; None where nothing was recorded.
        columns: the arrays of `History`, by name.
        losses_given: whether `record_losses` was ever called, for whichever example.
    """

    positions: Int64
    attacked: bool | None
    columns: Mapping[str, NDArray[Any]]
    losses_given: bool = False

    @property
    def seen(self) -> Int64:
        """How often the logits of each were recorded."""
        return self.columns["seen"]

    @property
    def forgetting(self) -> Float64:
        """Correct → incorrect transitions; +∞ where never correct (never seen included)."""
        return np.where(self.columns["learned"], self.columns["forgotten"], np.inf)

    @property
    def aum(self) -> Float64:
        """Mean margin z_y − max_{c≠y} z_c, in logits."""
        return self._mean("margin_sum")

    @property
    def el2n(self) -> Float64:
        """Mean ‖p − e_y‖₂, in [0, √2]."""
        return self._mean("el2n_sum")

    @property
    def last_el2n(self) -> Float64:
        """‖p − e_y‖₂ when last seen, in [0, √2]."""
        self._refuse_unseen("seen")
        return self.columns["last_el2n"]

    @property
    def confidence(self) -> Float64:
        """Mean p_y, in [0, 1]."""
        return self._mean("p_sum")

    @property
    def variability(self) -> Float64:
        """Standard deviation of p_y over the times seen (of the population), in [0, 1/2]."""
        return np.sqrt(np.maximum(self._mean("p_squares") - self.confidence**2, 0.0))

    @property
    def loss(self) -> Float64:
        """When last seen, nats: what `record_losses` was given, if it ever was for any example; else −log p_y."""
        self._refuse_unseen("loss_seen" if self.losses_given else "seen")
        return self.columns["given_loss" if self.losses_given else "last_loss"]

    @property
    def input_norm(self) -> Float64:
        """Mean ‖∇_x ℓ‖₂."""
        return self._mean("input_norm_sum", "input_norm_seen")

    def _mean(self, total: str, count: str = "seen") -> Float64:
        self._refuse_unseen(count)
        return self.columns[total] / self.columns[count]

    def _refuse_unseen(self, count: str) -> None:
        bad = self.positions[self.columns[count] == 0].tolist()
        if bad:
            what = {"input_norm_seen": "no input gradients", "loss_seen": "no losses"}.get(count, "nothing")
            remedy = (
                "train at least one epoch on the whole pool while recording, or restrict the task to what was seen."
            )
            if count == "seen" and self.losses_given:
                what, remedy = "losses and no logits", "choose by the loss, or record logits of classes while training."
            raise RequirementError(
                f"the history has recorded {what} of {len(bad)} examples (positions {first_few(bad)}): {remedy}"
            )


class History:
    """Record what a loop sees of each example.

    In a process group every process sees its share of an epoch: gather indices, logits and labels first, and record all.

    Args:
        n: N ≥ 1, how many examples the pool has.
        classes: C ≥ 2, the width of logits; None: that of the first batch.
    Raises:
        ShapeError: a count is too small.
    """

    def __init__(self, n: int, classes: int | None = None) -> None:
        if n < 1 or (classes is not None and classes < 2):
            raise ShapeError(f"a history needs n ≥ 1 examples and at least 2 classes, got {n} and {classes}.")
        self.n, self.classes = n, classes
        self.attacked: bool | None = None  # whether logits are of attacked inputs; the first batch says so
        self._columns: dict[str, NDArray[Any]] = {name: np.zeros(n, dtype) for name, dtype in _COLUMNS.items()}

    def __len__(self) -> int:
        return self.n

    def record(self, indices: Integers, logits: Tensor, labels: Integers, *, attacked: bool = False) -> None:
        """Record one batch; refused batches leave nothing behind.

        Args:
            indices: int [B], positions in the pool (`Indexed(pool)` yields them); one that occurs twice was seen twice.
            logits: z [B, C], finite, on any device and of any precision; no gradient is kept.
            labels: y int [B] in 0…C−1.
            attacked: whether the inputs were attacked; a history holds one kind.
        Raises:
            ShapeError: lengths disagree, or an index, label or width is out of range.
            NonFiniteError: logits hold NaN or infinity.
            RequirementError: natural and attacked logits in one history.
        """
        i, y = self._positions(indices), _integers("labels", labels)
        if logits.ndim != 2 or not len(i) == len(y) == len(logits):
            raise ShapeError(
                f"a batch needs indices [B], logits [B, C] and labels [B], got {list(i.shape)}, {list(logits.shape)} and "
                f"{list(y.shape)}."
            )
        z = logits.detach().to("cpu", torch.float64).numpy()  # [B, C]
        width = self.classes or z.shape[1]
        if z.shape[1] != width or width < 2 or (len(y) and not 0 <= y.min() <= y.max() < width):
            raise ShapeError(
                f"logits {list(z.shape)} and labels {y.min(initial=0)}…{y.max(initial=0)} do not fit "
                f"{max(width, 2)} classes: give one logit per class and labels numbered from 0."
            )
        bad = i[~np.isfinite(z).all(1)].tolist()
        if bad:
            raise NonFiniteError(
                f"logits of {len(bad)} examples hold NaN or infinity (positions {first_few(bad)}): look whether the model has "
                "diverged.",
                bad,
            )
        if self.attacked not in (None, attacked):
            kinds = ("attacked", "natural") if self.attacked else ("natural", "attacked")
            raise RequirementError(
                f"this history holds {kinds[0]} logits and was given {kinds[1]} ones: keep a second History for those."
            )
        if len(i):
            self.classes, self.attacked = width, attacked
        self._add(i, z, y)

    def _add(self, i: Int64, z: Float64, y: Int64) -> None:
        while len(i):  # the first time that each occurs, then the rest
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
        """Record ‖∇_x ℓ(x_i, y_i)‖₂, for `aign` averaged over training.

        Args:
            indices: int [B], positions in the pool.
            norms: [B], finite, ≥ 0.
        Raises:
            ShapeError: lengths disagree or an index is out of range.
            NonFiniteError: a norm is NaN or infinite.
        """
        i, values = self._values(indices, norms, "norms", "input gradients")
        np.add.at(self._columns["input_norm_sum"], i, values)
        np.add.at(self._columns["input_norm_seen"], i, 1)

    def record_losses(self, indices: Integers, losses: Tensor) -> None:
        """Record the training losses of one batch's examples, where there are no class logits or the loss is another.

        From the first call on, `Record.loss` is what was given here, and what logits say of it is not read; methods that read
        logits refuse examples of which there were none. A batch that is refused leaves nothing behind.

        Args:
            indices: int [B], positions in the pool; of one that occurs twice the second loss is the last.
            losses: [B], finite, before weighting, on any device; no gradient is kept.
        Raises:
            ShapeError: lengths disagree or an index is out of range.
            NonFiniteError: a loss is NaN or infinite.
        """
        i, values = self._values(indices, losses, "losses", "losses")
        self._columns["given_loss"][i] = values
        np.add.at(self._columns["loss_seen"], i, 1)

    def _values(self, indices: Integers, values: Tensor, name: str, what: str) -> tuple[Int64, Float64]:
        """Return positions [B] and one finite number for each."""
        i, array = self._positions(indices), values.detach().to("cpu", torch.float64).numpy()
        if array.shape != i.shape:
            raise ShapeError(f"indices {list(i.shape)} need as many {name}, got {list(array.shape)}.")
        bad = i[~np.isfinite(array)].tolist()
        if bad:
            raise NonFiniteError(
                f"{what} of {len(bad)} examples are not finite (positions {first_few(bad)}): look whether the model has diverged.",
                bad,
            )
        return i, array

    @property
    def without_logits(self) -> bool:
        """Whether losses were recorded and logits never."""
        return self.attacked is None and bool(self._columns["loss_seen"].any())

    def at(self, positions: Int64) -> Record:
        """Return a copy of what is known of some examples; later records do not change it."""
        found = {name: column[positions] for name, column in self._columns.items()}
        return Record(positions, self.attacked, found, losses_given=bool(self._columns["loss_seen"].any()))

    def state_dict(self) -> dict[str, Any]:
        """Return everything in plain values and tensors [N] (safe for weights-only loading)."""
        kept = {name: torch.from_numpy(column.copy()) for name, column in self._columns.items()}
        return {"n": self.n, "classes": self.classes, "attacked": self.attacked, **kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        A state of a version that kept no last ‖p − e_y‖₂ has the mean in its place, until an example is seen again.

        Raises:
            ShapeError: it is of another number of examples, or not of a history.
        """
        lengths = {name: len(state[name]) for name in _COLUMNS if isinstance(state.get(name), Tensor)}
        wanted = set(_COLUMNS) - (_LATER - state.keys())
        if state.get("n") != self.n or set(lengths) != wanted or set(lengths.values()) != {self.n}:
            raise ShapeError(
                f"this state is not of a history of {self.n} examples (n = {state.get('n')}): load it into one of its own size."
            )
        self.classes, self.attacked = state["classes"], state["attacked"]
        own = {name: state[name].cpu().numpy().astype(_COLUMNS[name]) for name in wanted}
        if "last_el2n" not in own:
            own["last_el2n"] = own["el2n_sum"] / np.maximum(own["seen"], 1)
        self._columns = {name: own.get(name, np.zeros(self.n, dtype)) for name, dtype in _COLUMNS.items()}

    def _positions(self, indices: Integers) -> Int64:
        i = _integers("indices", indices)
        if len(i) and not 0 <= i.min() <= i.max() < self.n:
            raise ShapeError(
                f"indices {i.min()}…{i.max()} lie outside 0…{self.n - 1}, the pool that this history is of: take them from "
                "Indexed(pool)."
            )
        return i


def _integers(name: str, values: Integers) -> Int64:
    """Return int64 [B]; an empty list counts as integers."""
    plain = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    array = integers(name, plain if len(plain) else np.zeros(0, np.int64))
    assert array is not None  # there were values
    return array

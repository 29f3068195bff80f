"""The record of training: what a `History` knows of some examples, and the columns that it consists of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.errors import RequirementError, ShapeError, first_few
from coreselect.support.type_checks import accepts

COLUMNS: dict[str, Any] = {
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
_LATER = frozenset({"last_el2n", "given_loss", "loss_seen"})  # columns that states of earlier versions do not have

Columns = dict[str, NDArray[Any]]


def empty_columns(n: int) -> Columns:
    """Return the columns of n examples that were never seen."""
    return {name: np.zeros(n, dtype) for name, dtype in COLUMNS.items()}


def columns_of_state(state: Mapping[str, Any], n: int) -> Columns:
    """Return the columns in the state of a history of n examples.

    A state of an earlier version has no last ‖p − e_y‖₂; the mean takes its place until the example is seen again.

    Raises:
        ShapeError: the state is of another number of examples, or not the state of a history.
    """
    fitting = {name for name, dtype in COLUMNS.items() if _fits(state.get(name), dtype, n)}
    wanted = set(COLUMNS) - (_LATER - state.keys())
    classes, attacked = state.get("classes", 0), state.get("attacked", "")
    described = accepts(int | None, classes) and (classes is None or classes > 1) and accepts(bool | None, attacked)
    if state.get("n") != n or fitting != wanted or not described:
        raise ShapeError(
            f"this state is not of a history of {n} examples (n = {state.get('n')}), or it is damaged: load it into a history of "
            "its own size."
        )
    columns: Columns = {name: state[name].cpu().numpy().astype(COLUMNS[name]) for name in wanted}
    if "last_el2n" not in columns:
        columns["last_el2n"] = columns["el2n_sum"] / np.maximum(columns["seen"], 1)
    return {name: columns.get(name, empty) for name, empty in empty_columns(n).items()}


def _fits(column: Any, dtype: Any, n: int) -> bool:
    """Return whether a column of a state holds n numbers of the kind that the history keeps: nothing is rounded."""
    if not isinstance(column, Tensor) or column.shape != (n,) or column.is_complex():
        return False
    return ("f" if column.is_floating_point() else "b" if column.dtype == torch.bool else "i") == np.dtype(dtype).kind


def state_of_columns(columns: Columns) -> dict[str, Tensor]:
    """Return copies of the columns as tensors [N]."""
    return {name: torch.from_numpy(column.copy()) for name, column in columns.items()}


@dataclass(frozen=True, eq=False)
class Record:
    """What a history knows of n examples; every array is [n], in the order of `positions`.

    Means and last values raise RequirementError if an example was never seen; the message names the examples.

    Attributes:
        positions: int64, positions in the whole pool.
        attacked: whether the logits were those of attacked inputs; None if no logits were recorded.
        columns: the arrays of the history, by the names of `coreselect.history`.
        losses_recorded: whether `record_losses` was ever called, for any example.
    """

    positions: NDArray[np.int64]
    attacked: bool | None
    columns: Mapping[str, NDArray[Any]]
    losses_recorded: bool = False

    @property
    def seen(self) -> NDArray[np.int64]:
        """The number of times that logits of each example were recorded."""
        return self.columns["seen"]

    @property
    def forgetting(self) -> NDArray[np.float64]:
        """The number of transitions from correct to incorrect; +∞ for an example that was never correct or never seen."""
        return np.where(self.columns["learned"], self.columns["forgotten"], np.inf)

    @property
    def aum(self) -> NDArray[np.float64]:
        """The mean margin z_y − max_{c≠y} z_c, in logits."""
        return self._mean("margin_sum")

    @property
    def el2n(self) -> NDArray[np.float64]:
        """The mean of ‖p − e_y‖₂, in [0, √2]."""
        return self._mean("el2n_sum")

    @property
    def last_el2n(self) -> NDArray[np.float64]:
        """‖p − e_y‖₂ at the last time, in [0, √2]."""
        self._refuse_unseen("seen")
        return self.columns["last_el2n"]

    @property
    def confidence(self) -> NDArray[np.float64]:
        """The mean of p_y, in [0, 1]."""
        return self._mean("p_sum")

    @property
    def variability(self) -> NDArray[np.float64]:
        """The population standard deviation of p_y over the times seen, in [0, 1/2]."""
        return np.sqrt(np.maximum(self._mean("p_squares") - self.confidence**2, 0.0))

    @property
    def loss(self) -> NDArray[np.float64]:
        """The last loss, in nats: from `record_losses` if it was ever called, for any example, otherwise −log p_y."""
        self._refuse_unseen("loss_seen" if self.losses_recorded else "seen")
        return self.columns["given_loss" if self.losses_recorded else "last_loss"]

    @property
    def input_norm(self) -> NDArray[np.float64]:
        """The mean of ‖∇_x ℓ‖₂."""
        return self._mean("input_norm_sum", "input_norm_seen")

    def _mean(self, total: str, count: str = "seen") -> NDArray[np.float64]:
        self._refuse_unseen(count)
        return self.columns[total] / self.columns[count]

    def _refuse_unseen(self, count: str) -> None:
        """Refuse if an example has a count of 0."""
        bad = self.positions[self.columns[count] == 0].tolist()
        if not bad:
            return
        what = {"input_norm_seen": "no input gradients", "loss_seen": "no losses"}.get(count, "nothing")
        remedy = "train at least one epoch on the whole pool while recording, or restrict the task to what was seen."
        if count == "seen" and self.losses_recorded:
            what, remedy = "losses and no logits", "choose by the loss, or record logits of classes while training."
        raise RequirementError(
            f"the history has recorded {what} of {len(bad)} examples (positions {first_few(bad)}): {remedy}"
        )

"""The head's inputs that training has seen last, one for each example, in half precision: 2·D bytes an example."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.errors import NonFiniteError, RequirementError, ShapeError, first_few
from coreselect.support.array_checks import real_numbers

Int64 = NDArray[np.int64]


class RecordedFeatures:
    """z_i [N, …], and whether it is known.

    Args:
        n: N ≥ 1.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self._known = np.zeros(n, dtype=bool)
        self._values: NDArray[np.float16] | None = None

    def record(self, i: Int64, features: Tensor) -> None:
        """Keep the features [B, …] of some examples; a batch that is refused changes nothing.

        Raises:
            ShapeError: there are not B of them, or they have another shape than before.
            NonFiniteError: they are not finite in half precision.
        """
        values = real_numbers("features", features, torch.float16)
        shape = values.shape[1:] if self._values is None else self._values.shape[1:]
        if len(values) != len(i) or values.ndim < 2 or values.shape[1:] != shape:
            raise ShapeError(
                f"{len(i)} examples need features [{len(i)}, …] of the shape {list(shape)} each, got {list(values.shape)}."
            )
        bad = i[~np.isfinite(values).reshape(len(values), -1).all(1)].tolist()
        if bad:
            raise NonFiniteError(
                f"features of {len(bad)} examples are not finite in half precision (positions {first_few(bad)}): check whether "
                "the model has diverged.",
                bad,
            )
        if self._values is None:
            self._values = np.zeros((self.n, *shape), np.float16)
        self._values[i], self._known[i] = values, True

    def at(self, positions: Int64) -> Tensor:
        """Return the features of some examples, float16 [n, …].

        Raises:
            RequirementError: training has not seen some of them.
        """
        unknown = positions[~self._known[positions]]
        if self._values is None or len(unknown):
            raise RequirementError(
                f"training has recorded no features of {len(unknown)} of {len(positions)} examples (positions "
                f"{first_few(unknown.tolist())}): train at least one epoch on the whole pool first (warmup)."
            )
        return torch.from_numpy(self._values[positions])

    def state(self) -> dict[str, Tensor]:
        """Return what is known as tensors; empty if nothing is."""
        if self._values is None:
            return {}
        return {
            "features": torch.from_numpy(self._values.copy()),
            "features_known": torch.from_numpy(self._known.copy()),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from a state.

        Raises:
            ShapeError: it is damaged, or of another number of examples.
        """
        values, known = state.get("features"), state.get("features_known")
        if values is None and known is None:
            self._values, self._known = None, np.zeros(self.n, dtype=bool)
            return
        good = (
            isinstance(values, Tensor) and values.dtype == torch.float16 and values.ndim > 1 and len(values) == self.n
            and isinstance(known, Tensor) and known.dtype == torch.bool and known.shape == (self.n,)
        )  # fmt: skip
        if not good or not isinstance(values, Tensor) or not isinstance(known, Tensor):
            raise ShapeError(f"the recorded features of this state are damaged, or not of {self.n} examples.")
        self._values, self._known = values.cpu().numpy().copy(), known.cpu().numpy().copy()

"""The factors of a selection's losses, by pool position."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.errors import ScheduleError
from coreselect.types import OVER_ROUNDS, Selection


def factors_of(selection: Selection, n: int) -> NDArray[np.float32]:
    """Return the weights of a selection by pool position: float32 [n], NaN outside the selection.

    They are scaled to mean 1, unless the selection says that its weights have mean 1 over the rounds.
    """
    assert selection.weights is not None  # the caller has checked
    out = np.full(n, np.nan, np.float32)
    mean = 1.0 if selection.provenance.settings.get(OVER_ROUNDS) else selection.weights.mean()
    out[selection.indices] = selection.weights / mean
    return out


def factors_at(factors: NDArray[np.float32], indices: Tensor) -> Tensor:
    """Return the factors of some pool positions, in the shape of `indices` and on their device.

    Raises:
        ScheduleError: a position is not in the selection; a mask and fractions are no positions.
    """
    asked = indices.detach().cpu().numpy()
    positions = asked.dtype.kind in "iuf"
    at = asked.astype(np.int64, copy=False) if positions else np.zeros(asked.shape, np.int64)
    found = np.asarray(factors.take(at, mode="clip"))  # NaN outside the selection
    inside = not at.size or 0 <= at.min() <= at.max() < len(factors)
    exact = at is asked or np.array_equal(at, asked)
    if not inside or np.isnan(found).any() or not positions or not exact:
        raise ScheduleError("an index is not in the current selection: ask for weights of the batch's own indices.")
    return torch.from_numpy(found).to(indices.device)

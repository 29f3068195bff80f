"""The factors of a selection's losses, by pool position."""

import numpy as np
from numpy.typing import NDArray

from coreselect.types import Selection


def factors_of(selection: Selection, n: int) -> NDArray[np.float32]:
    """Return the weights of a selection, scaled to mean 1, by pool position: float32 [n], NaN outside the selection."""
    assert selection.weights is not None  # the caller has checked
    out = np.full(n, np.nan, np.float32)
    out[selection.indices] = selection.weights / selection.weights.mean()
    return out

"""Check that computed values are finite, and name the examples whose values are not."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.errors import NonFiniteError, first_few

ROWS = 1024  # that are checked at once


def check_finite(values: Tensor, what: str, positions: NDArray[np.int64], *, limit: float = math.inf) -> float:
    """Return the largest size of the values, or raise an error that names the examples whose values are not finite.

    Args:
        values: [n, …], one row per example.
        what: the values' name in the error message.
        positions: int64 [n], the examples' numbers in the error message.
        limit: sizes of this and above are refused too.
    Raises:
        NonFiniteError: NaN, infinity, or a size of at least `limit`; `indices` are the positions.
    """
    rows = values.flatten(1) if values.ndim > 1 else values[:, None]
    if not rows.numel():
        return 0.0
    largest = 0.0
    bad = torch.empty(len(rows), dtype=torch.bool, device=rows.device)
    for mine, block in zip(bad.split(ROWS), rows.split(ROWS), strict=True):
        sizes = block.abs().amax(1)  # [b]
        mine.copy_(~(sizes < limit))  # NaN is not less
        largest = max(largest, float(sizes.max()))
    if bool(bad.any()):
        named = positions[bad.cpu().numpy()].tolist()
        problem = "NaN or infinity" if limit == math.inf else f"NaN, infinity or numbers of size {limit:g} and above"
        raise NonFiniteError(
            f"the {what} of {len(named)} examples hold {problem} (positions {first_few(named)}): "
            "remove these examples, or check whether the model has diverged.",
            named,
        )
    return largest

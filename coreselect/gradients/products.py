"""Products of a matrix and a vector on a CPU, at the bandwidth of its memory.

    s = R q,   R [M, W], q [W] → s [M]

The general product of BLAS (`gemv`) reads a large matrix at half the bandwidth or less; a dot product for each row
(`numpy.vecdot`) reads it at all of it. A small matrix lies in a cache, and there `gemv` is the faster one, as it is for short
rows. Every form sums in an order of its own, so the results differ by rounding: what compares them allows for that.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

IN_CACHE = 16 << 20  # bytes of a matrix that a cache may hold
SHORT = 32  # numbers in a row for which a call for each row costs more than it saves
_by_rows: Callable[..., Any] = getattr(np, "vecdot", np.dot)  # NumPy 1 has no vecdot


def times(matrix: Tensor, query: Tensor) -> Tensor:
    """Compute matrix @ query, [M], for a matrix [M, W] and a query [W] of one type on one device."""
    if matrix.device.type != "cpu" or matrix.dtype not in (torch.float32, torch.float64):
        return matrix @ query
    R, q = matrix.detach().numpy(), query.detach().numpy()
    large = matrix.numel() * matrix.element_size() > IN_CACHE and matrix.shape[1] >= SHORT
    with np.errstate(over="ignore", invalid="ignore"):  # who compares scores looks for those that are not finite
        return torch.from_numpy(_by_rows(R, q) if large else np.dot(R, q))

"""Products on a CPU: of a matrix and a vector at the bandwidth of memory, and none of them by threads of numpy.

    s = R q,   R [M, W], q [W] → s [M]

A dot product for each row (`numpy.vecdot`) reads a large matrix at all of the bandwidth, the general product of BLAS (`gemv`)
at half of it or less. Short rows go to torch: a call for each of them would cost more than it saves.

`@` and `numpy.dot` are left to what runs once. The BLAS of numpy has threads of its own, which wait for more work in a busy
loop after every product. Threads of torch or FAISS that come next want the same cores, and wait for theirs in the same way:
with two cores, a product and a sum of torch took 80 times as long as by one thread.

Every form sums in an order of its own, so the results differ by rounding: what compares them allows for that.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SHORT = 100  # numbers in a row for which a call for each row costs more than it saves


def _einsum(R: NDArray[Any], q: NDArray[Any]) -> NDArray[Any]:
    return np.einsum("mw,w->m", R, q)


dot_by_rows: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]] = getattr(np, "vecdot", _einsum)  # NumPy 1 has none


def times(matrix: Tensor, query: Tensor) -> Tensor:
    """Compute matrix @ query, [M], for a matrix [M, W] and a query [W] of one type on one device."""
    on_cpu = matrix.device.type == "cpu" and matrix.dtype in (torch.float32, torch.float64)
    if not on_cpu or matrix.shape[1] < SHORT:
        with torch.autocast(matrix.device.type, enabled=False):
            return matrix @ query
    with np.errstate(over="ignore", invalid="ignore"):  # who compares scores looks for those that are not finite
        return torch.from_numpy(dot_by_rows(matrix.detach().numpy(), query.detach().numpy()))


def matmul(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Compute a @ b of two matrices, [M, W] and [W, N], by torch."""
    with torch.autocast("cpu", enabled=False):
        return (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()

"""Products on a CPU: of a matrix and a vector at the bandwidth of memory, without the threads of numpy.

    s = R q,   R [M, W], q [W] → s [M]

torch computes it by MKL, which reads a large matrix at all of the bandwidth on processors of Intel, and at half of it or less on
others. There a dot product for each row (`numpy.vecdot`) is faster. Short rows stay with torch: a call for each of them would
cost more than it saves. Very long ones go to `numpy.einsum`: BLAS would give each of them to all its threads.

Do not use `@` of numpy or `numpy.dot` in a loop. The BLAS of numpy has threads of its own, which wait for more work in a busy
loop after every product. Threads of torch or FAISS that come next want the same cores, and wait for theirs in the same way. On
two cores, a product of 2,048 × 512 and a sum of 200,000 numbers by torch took 8 ms in turns, and 0.1 ms by one thread.

One core reads only a part of what the memory of many machines gives. So dot products of a large matrix are divided between as
many threads as torch may use (`torch.set_num_threads`), which end with the product. Their number changes no result.

Every form sums in an order of its own, so the results differ by rounding: what compares them allows for that.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SHORT = 100  # numbers in a row for which a call for each row costs more than it saves
LONG = 8192  # numbers in a row above which OpenBLAS may use threads for one dot product (from 10,000 on)
SHARE = 16 << 20  # bytes of rows for which starting a thread pays


def dot_by_rows(R: NDArray[Any], q: NDArray[Any]) -> NDArray[Any]:
    """Compute R q by one dot product for each row: [M, W], [W] → [M]. Equal rows give equal products, wherever they stand."""
    threads = min(
        torch.get_num_threads(), R.nbytes // SHARE, len(R) // 2
    )  # `einsum` sums one row alone in another order
    if threads < 2:
        return _dots(R, q)
    handling = np.geterr()  # a setting of each thread

    def part(rows: NDArray[Any]) -> NDArray[Any]:
        with np.errstate(**handling):
            return _dots(rows, q)

    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(part, np.array_split(R, threads))))


def _dots(R: NDArray[Any], q: NDArray[Any]) -> NDArray[Any]:
    if R.shape[1] > LONG or not hasattr(np, "vecdot"):  # NumPy 1 has none
        return np.einsum("mw,w->m", R, q)
    return np.vecdot(R, q)


def times(matrix: Tensor, query: Tensor) -> Tensor:
    """Compute matrix @ query, [M], for a matrix [M, W] and a query [W] of one type on one device; no gradient flows back."""
    matrix, query = matrix.detach(), query.detach()
    on_cpu = matrix.device.type == "cpu" and matrix.dtype in (torch.float32, torch.float64)
    if not on_cpu or matrix.shape[1] < SHORT or not slow_mkl():
        with torch.autocast(matrix.device.type, enabled=False):
            return matrix @ query
    with np.errstate(over="ignore", invalid="ignore"):  # who compares scores looks for those that are not finite
        return torch.from_numpy(dot_by_rows(matrix.numpy(), query.numpy()))


@cache
def slow_mkl() -> bool:
    """Say whether torch multiplies by MKL on a processor that Intel has not made, as far as the system tells."""
    try:
        about = Path("/proc/cpuinfo").read_text()
    except OSError:
        about = os.environ.get("PROCESSOR_IDENTIFIER", "")  # of Windows
    return torch.backends.mkl.is_available() and bool(about) and "GenuineIntel" not in about


def matmul(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Compute a @ b of two matrices, [M, W] and [W, N], by torch."""
    with torch.autocast("cpu", enabled=False):
        return (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()

"""Products on a CPU: of a matrix and a vector at the bandwidth of memory, without the threads of numpy.

    s = R q,   R [M, W], q [W] → s [M]

The general product of BLAS (`gemv`) reads a large matrix at the bandwidth of memory where MKL runs on a processor of Intel, and
at half of it or less on many others. There each row has a dot product of its own, which torch makes for chosen pairs of rows
(`torch.sparse.sampled_addmm`), by its own threads. Then equal rows have equal products, and a product depends neither on the rows
beside it nor on the number of threads. Rows of few numbers always go to `gemv`: a pair would cost more than it saves.

Do not use `@` of numpy or `numpy.dot` in a loop. The BLAS of numpy has threads of its own, which wait for more work in a busy
loop after every product. Threads of torch or FAISS that come next want the same cores, and wait for theirs in the same way. On
two cores, a product of 2,048 × 512 and a sum of 200,000 numbers by torch took 8 ms in turns, and 0.1 ms by one thread.

Every form sums in an order of its own, so the results differ by rounding: what compares them allows for that.
"""

import os
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

SHORT = 100  # numbers in a row for which a dot product for each row costs more than it saves
BLOCK = 1 << 18  # numbers of a matrix, not contiguous, that are copied at once


def times(matrix: Tensor, query: Tensor) -> Tensor:
    """Compute matrix @ query, [M], for a matrix [M, W] and a query [W] of one type on one device; no gradient flows back."""
    matrix, query = matrix.detach(), query.detach()
    on_cpu = matrix.device.type == "cpu" and matrix.dtype in (torch.float32, torch.float64)
    if on_cpu and matrix.shape[1] >= SHORT and (_copied(matrix) or (matrix.stride(1) == 1 and not fast_gemv())):
        return _dots(matrix, query)
    with torch.autocast(matrix.device.type, enabled=False):
        return matrix @ query


def _copied(matrix: Tensor) -> bool:
    """Say whether `gemv` copies all of a matrix, because neither its rows nor its columns lie in one piece, one after another."""
    (down, across), (m, w) = matrix.stride(), matrix.shape
    return not ((across == 1 and down >= w) or (down == 1 and across >= m))


@cache
def fast_gemv() -> bool:
    """Say whether torch multiplies by MKL on a processor of Intel; False where the system does not tell its maker."""
    try:
        about = Path("/proc/cpuinfo").read_text()
    except OSError:
        about = os.environ.get("PROCESSOR_IDENTIFIER", "")  # of Windows
    return torch.backends.mkl.is_available() and "GenuineIntel" in about


def dot_by_rows(R: NDArray[Any], q: NDArray[Any]) -> NDArray[Any]:
    """Compute R q by one dot product for each row: [M, W], [W] → [M], float32 or float64.

    Equal rows give equal products, wherever they stand.
    """
    return _dots(torch.from_numpy(R), torch.from_numpy(q)).numpy()


def dots(left: Tensor, right: Tensor, ids: Tensor) -> Tensor:
    """Compute ⟨left_i, right_j⟩ for j in ids_i, each as a dot product: [b, W], [N, W], integers [b, K] → [b, K].

    Both are on the CPU and of one type, float32 or float64. A matrix that is not contiguous is copied.
    """
    nothing = torch.zeros(ids.numel(), dtype=left.dtype)
    starts = torch.arange(0, ids.numel() + 1, max(1, ids.shape[1]), dtype=ids.dtype)
    with warnings.catch_warnings(), torch.autocast("cpu", enabled=False):
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        asked = torch.sparse_csr_tensor(  # a number for each (i, j); their order in a row does not matter
            starts, ids.flatten(), nothing, (len(ids), len(right)), check_invariants=False
        )
        return torch.sparse.sampled_addmm(asked, left, right.T, beta=0.0).values().view(ids.shape)


def _dots(matrix: Tensor, query: Tensor) -> Tensor:
    """Compute a dot product for each row; a matrix that is not contiguous is copied block by block."""
    ids = torch.zeros(len(matrix), 1, dtype=torch.int32)
    if matrix.is_contiguous():
        return dots(matrix, query[None], ids)[:, 0]
    rows = max(1, BLOCK // max(1, matrix.shape[1]))
    out, held = matrix.new_empty(len(matrix)), matrix.new_empty(min(rows, len(matrix)), matrix.shape[1])
    for part, found, own in zip(matrix.split(rows), out.split(rows), ids.split(rows), strict=True):
        found.copy_(dots(held[: len(part)].copy_(part), query[None], own)[:, 0])
    return out


def matmul(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Compute a @ b of two matrices, [M, W] and [W, N], by torch."""
    with torch.autocast("cpu", enabled=False):
        return (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()

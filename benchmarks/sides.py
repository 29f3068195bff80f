"""One side of the facility-location comparison, in its own process and in an environment with its library.

    python sides.py NAME features.npy K        prints "ready", waits for a line, selects, prints one JSON line, waits for the end

    s_ij = (1 + cos(φ_i, φ_j)) / 2, for all sides except `submodlib_kernel`

Besides Python and NumPy, only the library of the side is imported. The import, reading the features and a small first
selection happen before "ready" and are not timed.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import metadata
from typing import Any

import numpy as np

FIRST = 256  # features of the first selection, which is not timed
NEIGHBOURS = 64  # the default of `FacilityLocation`; i itself is one of them


def graph(x: Any, k: int) -> list[int]:
    """Select as `FacilityLocation` does beyond `dense_up_to`."""
    return _ours(x, k, 0)


def dense(x: Any, k: int) -> list[int]:
    """Select as `FacilityLocation` does up to `dense_up_to`."""
    return _ours(x, k, len(x))


def apricot(x: Any, k: int) -> list[int]:
    """Give apricot the matrix in float64, which it needs; this is faster and smaller than any matrix it makes itself."""
    from apricot import FacilityLocationSelection  # pyright: ignore[reportMissingImports]  # the rivals' environment has it

    s = _matrix(x, np.float64)
    return FacilityLocationSelection(k, metric="precomputed", optimizer="lazy").fit(s).ranking.tolist()


def apricot_graph(x: Any, k: int) -> list[int]:
    """Give apricot a neighbour graph made with scikit-learn, as sparse as `graph`; apricot has no such graph for this s."""
    from apricot import FacilityLocationSelection  # pyright: ignore[reportMissingImports]
    from scipy.sparse import csr_matrix
    from sklearn.neighbors import NearestNeighbors

    z = _directions(x)
    near = NearestNeighbors(n_neighbors=NEIGHBOURS, algorithm="brute").fit(z).kneighbors_graph(mode="distance")
    s = csr_matrix(near)
    s.data = 1 - s.data.astype(np.float64) ** 2 / 4
    s.indices, s.indptr = (
        s.indices.astype(np.int32),
        s.indptr.astype(np.int32),
    )  # apricot is compiled for these types only
    return FacilityLocationSelection(k, metric="precomputed", optimizer="lazy").fit(s).ranking.tolist()


def submodlib(x: Any, k: int) -> list[int]:
    """Give submodlib the matrix in float32."""
    from submodlib import FacilityLocationFunction  # pyright: ignore[reportMissingImports]

    f = FacilityLocationFunction(
        len(x), "dense", sijs=_matrix(x, np.float32), separate_rep=False, pybind_mode="array32"
    )
    return [int(i) for i, _ in f.maximize(k, optimizer="LazyGreedy", show_progress=False)]


def submodlib_kernel(x: Any, k: int) -> list[int]:
    """Let submodlib make its own kernel in C++, which holds it once: s = cos, and values below 0 do not count."""
    from submodlib import FacilityLocationFunction  # pyright: ignore[reportMissingImports]

    f = FacilityLocationFunction(len(x), "dense", data=x, metric="cosine", create_dense_cpp_kernel_in_python=False)
    return [int(i) for i, _ in f.maximize(k, optimizer="LazyGreedy", show_progress=False)]


SIDES: dict[str, tuple[str, Callable[[Any, int], list[int]]]] = {  # the distribution, and how it selects
    "graph": ("coreselect", graph),
    "dense": ("coreselect", dense),
    "apricot": ("apricot-select", apricot),
    "apricot_graph": ("apricot-select", apricot_graph),
    "submodlib": ("submodlib-py", submodlib),
    "submodlib_kernel": ("submodlib-py", submodlib_kernel),
}


def main(name: str, features: str, k: int) -> None:
    """Run the side as described at the top of this file."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the output of libraries goes to stderr
    package, chosen = SIDES[name]
    x = np.load(features)
    chosen(x[:FIRST], 16)
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    print("ready", file=answers, flush=True)
    sys.stdin.readline()
    wall, cpu = time.perf_counter(), time.process_time()
    picks = chosen(x, k)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    answer = {"picks": picks, "seconds": wall, "cpu_seconds": cpu, "version": metadata.version(package)}
    print(json.dumps(answer), file=answers, flush=True)
    sys.stdin.readline()


def _ours(x: Any, k: int, dense_up_to: int) -> list[int]:
    from coreselect import Task, select
    from coreselect.selectors import FacilityLocation

    task = Task.from_arrays(features=x)
    return select(task, FacilityLocation(dense_up_to=dense_up_to, neighbours=NEIGHBOURS), k, 0).indices.tolist()


def _directions(x: Any) -> Any:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def _matrix(x: Any, dtype: Any) -> Any:
    """Return s [n, n], computed in place so that only one matrix is in memory."""
    z = _directions(x.astype(dtype))
    s = z @ z.T
    s += 1
    s /= 2
    return s


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

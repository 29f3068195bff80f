"""Everything that FAISS computes: inner-product search over rows, nearest points, k-means. Only this file imports faiss.

Each block of rows is searched in place (`knn_inner_product` with a bitmap of the rows that are still alive): there is no
index, nothing is removed, and the rows are not copied. Rows on a GPU are searched there by `knn_gpu`; where only FAISS for the
CPU is installed, one block after the other is copied to the host.
"""

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.errors import RequirementError, missing_extra
from coreselect.gradients.rows import DenseRows, Rows, gamma
from coreselect.types import Int64

MOST_ON_GPU = 2048  # neighbours that FAISS can find on a GPU
# For nearest points: queries in a block, and the count from which FAISS keeps the best in a reservoir, not a heap.
FASTER = {"distance_compute_blas_query_bs": 1024, "distance_compute_min_k_reservoir": 16}
FIRST = 8  # how many neighbours to ask for first; more if rounding makes that necessary


class FaissSearch:
    """Propose rows by FAISS; after the decision in float64 the picks are those of `ExactSearch`.

    Raises:
        MissingExtraError: FAISS is not installed.
        RequirementError: the rows are not a matrix (factored rows are not).
    """

    def __init__(self, rows: Rows) -> None:
        try:
            import faiss
        except ImportError as why:
            raise missing_extra("FAISS", "cpu", "search='faiss' (coreselect[gpu] for rows on a GPU)") from why
        if not isinstance(rows, DenseRows):
            raise RequirementError(
                "FAISS needs a matrix of rows, and these rows are factored: use search='exact', or batch groups."
            )
        self._faiss: Any = faiss
        self._rows = rows
        on_gpu = rows.matrix.is_cuda and hasattr(faiss, "StandardGpuResources")  # faiss-cpu has none: blocks are copied
        self._resources: Any = faiss.StandardGpuResources() if on_gpu else None
        # FAISS works in float32, so rows of a wider type are rounded to it
        norms = rows.slack / gamma(rows.matrix.shape[1], rows.matrix.dtype)
        self.slack = gamma(rows.matrix.shape[1], torch.float32) * norms

    def scores(self, query: Tensor) -> Tensor:
        """Compute every ⟨row, query⟩ in float32: query [W] → [M]."""
        q = query.detach().float()
        if self._rows.matrix.device.type != "cpu":
            return torch.cat([block.float() @ q.to(block.device) for _, block in self._rows.blocks()])
        faiss, one = self._faiss, np.ascontiguousarray(q.cpu().numpy())
        out = np.empty(self._rows.count, np.float32)
        for at, block in self._rows.blocks():
            rows = np.ascontiguousarray(block.float().numpy())
            here = out[at : at + len(rows)]
            faiss.fvec_inner_products_ny(*map(faiss.swig_ptr, (here, one, rows)), rows.shape[1], len(rows))
        return torch.from_numpy(out)

    def propose(self, query: Tensor, alive: Tensor) -> Tensor:
        """query [P or W], alive bool [M] → int64 [≥1]."""
        q = query.detach().float().reshape(1, -1)  # [1, W]
        slack = self.slack * float(q.norm())
        widest = float(slack[alive.to(slack.device)].max())
        best, found = -np.inf, []
        for at, block in self._rows.blocks():
            alive_here = alive[at : at + len(block)].cpu().numpy()
            count = int(alive_here.sum())
            take = min(FIRST, count)
            while take:
                scores, ids = self._knn(q, block, alive_here, take)
                best = max(best, float(scores[0]))
                if take == count or scores[-1] < best - 2 * widest:  # no row that was left out can be the best
                    found.append((scores, ids + at))
                    break
                take = min(4 * take, count)
        scores, ids = (np.concatenate(part) for part in zip(*found, strict=True))
        return torch.from_numpy(np.sort(ids[scores >= best - 2 * widest]).astype(np.int64))

    def _knn(self, q: Tensor, block: Tensor, alive_here: np.ndarray, take: int) -> tuple[np.ndarray, np.ndarray]:
        if self._resources is not None:
            return self._knn_gpu(q, block, alive_here, take)
        faiss = self._faiss
        rows, one = np.ascontiguousarray(block.float().cpu().numpy()), np.ascontiguousarray(q.cpu().numpy())
        scores, ids = np.empty((1, take), np.float32), np.empty((1, take), np.int64)
        bits = np.packbits(alive_here, bitorder="little")
        selector = faiss.IDSelectorBitmap(len(alive_here), faiss.swig_ptr(bits))
        faiss.knn_inner_product(
            *map(faiss.swig_ptr, (one, rows)),
            rows.shape[1],
            1,
            len(rows),
            take,
            *map(faiss.swig_ptr, (scores, ids)),
            selector,
        )
        return scores[0], ids[0]

    def _knn_gpu(self, q: Tensor, block: Tensor, alive_here: np.ndarray, take: int) -> tuple[np.ndarray, np.ndarray]:
        faiss = self._faiss
        importlib.import_module("faiss.contrib.torch_utils")  # lets FAISS read tensors in place

        dead = int((~alive_here).sum())  # no selector on a GPU: ask for as many more as are dead
        ask = min(take + dead, len(alive_here))
        if ask > MOST_ON_GPU:
            scores = (
                (block @ q[0].to(block.dtype))
                .float()
                .masked_fill(~torch.from_numpy(alive_here).to(block.device), -np.inf)
            )
            top = scores.topk(take)
            return top.values.cpu().numpy(), top.indices.cpu().numpy()
        scores, ids = faiss.knn_gpu(
            self._resources, q, block.float().contiguous(), ask, metric=faiss.METRIC_INNER_PRODUCT
        )
        scores, ids = scores[0].cpu().numpy(), ids[0].cpu().numpy()
        keep = alive_here[ids]
        return scores[keep][:take], ids[keep][:take]


def require_faiss(what: str) -> None:
    """Raise MissingExtraError if FAISS is not installed; the message says what needs it."""
    try:
        import faiss  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as why:
        raise missing_extra("FAISS", "cpu", what) from why


def faiss_nearest(x: np.ndarray, count: int) -> tuple[NDArray[np.float32], Int64]:
    """Find the nearest points of every point, itself included, by exhaustive search.

    Args:
        x: float32 [N, D], contiguous.
        count: 1…N.
    Returns:
        Squared distances, float32 [N, count], and int64 [N, count], nearest first.
    Raises:
        MissingExtraError: FAISS is not installed.
    """
    try:
        import faiss
    except ImportError as why:
        raise missing_extra("FAISS", "cpu", "the neighbour search by FAISS") from why
    with _settings(faiss.cvar, FASTER):
        engine: Any = faiss
        return engine.knn(x, x, count, metric=faiss.METRIC_L2)


@contextmanager
def _settings(held: Any, wanted: Mapping[str, int]) -> Iterator[None]:
    """Change FAISS's settings of the process for a while. They decide how fast it searches, not what it finds."""
    before = {name: getattr(held, name) for name in wanted}
    try:
        for name, value in wanted.items():
            setattr(held, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(held, name, value)


def faiss_kmeans(x: np.ndarray, start: Int64, iterations: int) -> tuple[Int64, float]:
    """Run k-means from given first centres; every iteration uses all points.

    Args:
        x: float32 [N, D], contiguous.
        start: positions of the points that are the first centres, int64 [k].
        iterations: ≥ 1.
    Returns:
        The nearest centre of each point, int64 [N], and the sum of squared distances to it.
    Raises:
        MissingExtraError: FAISS is not installed.
    """
    try:
        import faiss
    except ImportError as why:
        raise missing_extra("FAISS", "cpu", "k-means by FAISS") from why
    n, k = len(x), len(start)
    engine: Any = faiss.Kmeans(
        x.shape[1], k, niter=iterations, min_points_per_centroid=1, max_points_per_centroid=n, verbose=False
    )
    engine.train(x, init_centroids=np.ascontiguousarray(x[start]))
    squares, labels = engine.assign(x)  # [N] each
    return labels.astype(np.int64), float(squares.sum(dtype=np.float64))

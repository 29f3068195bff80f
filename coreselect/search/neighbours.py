"""The neighbour graph: each point's nearest points, proposed in float32 by FAISS or torch and decided in float64.

    N_K(i) = the K points j of smallest ‖z_i − z_j‖², i itself included

Among equally near points, those of lowest index are kept.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from coreselect.errors import MissingExtraError, ShapeError, UnknownNameError
from coreselect.search.faiss import faiss_nearest
from coreselect.search.similarity import ROWS, mean_point

ENGINES = ("auto", "faiss", "torch")
MARGIN = 8  # extra proposals, for distances that float32 cannot order
BLOCK_BYTES = 16 << 20  # of a block of distances that torch computes at once
WIDENED_BYTES = 256 << 20  # of points in float64
CACHED_BYTES = 512 << 10  # of a block of differences on a CPU: it stays in the cache of a core

Engine = Literal["auto", "faiss", "torch"]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Neighbours of N points, nearest first; equally near ones in the order of their index.

    Attributes:
        indices: int64 [N, K]; row i holds i, unless K others are also at distance 0.
        squares: float64 [N, K], ‖z_i − z_j‖², ascending.
        engine: what proposed them, `faiss` or `torch`.
    """

    indices: Tensor
    squares: Tensor
    engine: str


def neighbours(points: Tensor, count: int, *, by: Engine = "auto") -> Neighbours:
    """Find the nearest points of every point by exact search, in O(N²D) time and O(N·count) memory.

    Proposals are ordered by float32 distances of the centred points. A neighbour can be missed only if more than `MARGIN`
    others are as far away as the last neighbour kept, to the rounding of float32.

    Args:
        points: z [N, D] float32 or float64, finite, on any device.
        count: K ≥ 1; at most as many as there are points.
        by: `faiss` (on a CPU), `torch` (any device), or `auto`: FAISS if it is installed and the points are on a CPU.
    Raises:
        ShapeError: points are not a matrix, or count is below 1.
        UnknownNameError: `by` has another value.
        MissingExtraError: `faiss` is asked for and not installed.
    """
    if points.ndim != 2 or not len(points) or count < 1:
        raise ShapeError(f"neighbours need points [N, D] and a count of at least 1, got {list(points.shape)}, {count}.")
    if by not in ENGINES:
        raise UnknownNameError(f"no neighbour search is called {by!r}; there are {', '.join(ENGINES)}.")
    n, k = len(points), min(count, len(points))
    wanted = min(k + MARGIN, n)
    x = torch.empty(points.shape, dtype=torch.float32, device=points.device)  # [N, D]; centred
    centre = mean_point(points)
    for own, block in zip(x.split(ROWS), points.split(ROWS), strict=True):
        own.copy_(block.double() - centre)
    proposed, engine = _propose(x, wanted, by if by != "auto" or points.device.type == "cpu" else "torch")
    return _decide(points, proposed, k, engine)


def _propose(x: Tensor, wanted: int, by: str) -> tuple[Tensor, str]:
    """Return proposals int64 [N, wanted], in no order, and the engine that found them."""
    if wanted == len(x):
        return torch.arange(wanted, device=x.device).repeat(wanted, 1), "torch"
    if by != "torch":
        try:
            found = torch.from_numpy(faiss_nearest(x.cpu().contiguous().numpy(), wanted))
            return found.to(x.device), "faiss"
        except MissingExtraError:
            if by == "faiss":
                raise
    half = x.pow(2).sum(1) / 2  # [N]
    step = max(1, BLOCK_BYTES // (4 * len(x)))
    with torch.autocast(x.device.type, enabled=False):
        parts = [(x[at : at + step] @ x.T - half).topk(wanted, dim=1).indices for at in range(0, len(x), step)]
    return torch.cat(parts), "torch"


def _decide(points: Tensor, proposed: Tensor, k: int, engine: str) -> Neighbours:
    """Order proposals [N, K′] by float64 distance, then by index, and keep the first k."""
    n = len(points)
    indices = torch.empty(n, k, dtype=torch.int64, device=points.device)
    squares = torch.empty(n, k, dtype=torch.float64, device=points.device)
    z = points.double() if 8 * points.numel() <= WIDENED_BYTES else points  # a larger pool is widened block by block
    for at in range(0, n, ROWS):
        own = torch.arange(at, min(at + ROWS, n), device=points.device)[:, None]  # [b, 1]
        ids = proposed[at : at + ROWS]  # [b, K′]
        absent = ~(ids == own).any(1)
        if bool(absent.any()):
            ids = ids.clone()
            ids[absent, -1] = own[absent, 0]
        found, order = _squares(z, own, ids).sort(dim=1)
        ids = ids.gather(1, order)
        tied = (found[:, 1:] == found[:, :-1]).any(1)
        if bool(tied.any()):  # equally near ones go by index
            some, by_index = ids[tied].sort(1)
            found[tied], order = found[tied].gather(1, by_index).sort(dim=1, stable=True)
            ids[tied] = some.gather(1, order)
        indices[at : at + ROWS], squares[at : at + ROWS] = ids[:, :k], found[:, :k]
    return Neighbours(indices, squares, engine)


def _squares(z: Tensor, own: Tensor, ids: Tensor) -> Tensor:
    """Return ‖z_i − z_j‖² in float64: points [N, D], i [b, 1], j [b, K′] → [b, K′].

    Differences are made in one buffer that fits the cache of a CPU.
    """
    wide, width = ids.shape[1], z.shape[1]
    out = torch.empty(ids.shape, dtype=torch.float64, device=z.device)
    step = max(1, (CACHED_BYTES if z.device.type == "cpu" else BLOCK_BYTES) // (8 * wide * width + 1))
    buffer = torch.empty(min(step, len(ids)) * wide, width, dtype=z.dtype, device=z.device)
    for at in range(0, len(ids), step):
        block = ids[at : at + step]
        apart = torch.index_select(z, 0, block.flatten(), out=buffer[: block.numel()]).double()
        apart = apart.view(*block.shape, width).sub_(z[own[at : at + step]])
        torch.sum(apart.square_(), 2, out=out[at : at + step])
    return out

"""The neighbour graph: each point's nearest points, proposed by FAISS or torch and decided in float64.

    N_K(i) = the K points j of smallest ‖z_i − z_j‖², i itself included

Among equally near points, those of lowest index are kept.

Proposals are the K + `MARGIN` points of smallest distance by norms and one product in float32. With x the centred and scaled
points and e twice the ε of `coreselect.search.distances`, because norms are rounded too, a point j that was not proposed has

    (1 + 2e) ‖x_i − x_j‖² ≥ d_i − 3e ‖x_i‖² − tiny,   d_i the largest distance that was proposed,

because ‖x_j‖² ≤ 2‖x_i‖² + 2‖x_i − x_j‖². Where that does not place it behind the K neighbours, products in float64 look for
nearer points. Where even these cannot tell (‖x_i‖ is thousands of times the distance), all points that they do not rule out
are compared.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from coreselect.errors import MissingExtraError, ShapeError, UnknownNameError
from coreselect.gradients.rows import gamma
from coreselect.search.distances import TINY, scale_of
from coreselect.search.exact_distances import PRECISE, WIDENED_BYTES, ExactDistances
from coreselect.search.faiss import faiss_nearest
from coreselect.search.similarity import ROWS, mean_point

ENGINES = ("auto", "faiss", "torch")
MARGIN = 8  # extra proposals, for distances that rounding cannot order
BLOCK_BYTES = 16 << 20  # of a block of distances or points on which one step works

DIGITS = 1e-6  # relative: what differs by less may be taken for equal

Engine = Literal["auto", "faiss", "torch"]


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Neighbours of N points, nearest first; equally near ones in the order of their index.

    Attributes:
        indices: int64 [N, K]; row i holds i, unless K others are also at distance 0.
        squares: float64 [N, K], ‖z_i − z_j‖², ascending, each right to 1e-10 of itself.
        engine: what proposed them first, `faiss` or `torch`.
    """

    indices: Tensor
    squares: Tensor
    engine: str


def neighbours(points: Tensor, count: int, *, by: Engine = "auto") -> Neighbours:
    """Find the nearest points of every point by exact search, in O(N²D) time and O(N·(D + count)) memory.

    Where more than `MARGIN` points are as far away as the last neighbour kept, as far as float32 can tell, one may be kept in
    place of a point that is nearer by less than a millionth, or of an equal one of lower index.

    Args:
        points: z [N, D] float32 or float64, finite, of a size below 1e150, on any device.
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
    k, centre = min(count, len(points)), mean_point(points)
    x, scale = _centred(points, centre)
    wanted, engine = min(k + MARGIN, len(x)), by if by != "auto" or points.device.type == "cpu" else "torch"
    proposed, last, engine = _propose(x, wanted, engine)
    exact = ExactDistances.of(points, scale)
    step = max(1, BLOCK_BYTES // (8 * max(wanted, x.shape[1])))
    found = [exact.nearest(rows, proposed[rows], k) for rows in torch.arange(len(x), device=x.device).split(step)]
    indices, squares = torch.cat([ids for ids, _ in found]), torch.cat([apart for _, apart in found])
    if wanted < len(x):
        error = 2 * gamma(x.shape[1] + 16, torch.float32)  # e
        least = (last.double() - 3 * error * x.square().sum(1).double() - TINY) / (1 + 2 * error)  # [N]
        far = squares[:, -1]
        rows = ((far > 0) & ~(far <= least)).nonzero()[:, 0]  # nothing is nearer than 0
        _correct(rows, exact, centre, indices, squares)
    return Neighbours(indices, squares.mul_(scale**2), engine)


def _centred(points: Tensor, centre: Tensor) -> tuple[Tensor, float]:
    """Return x = (z − μ)/s in float32, [N, D], and s."""

    def x(scale: float) -> Tensor:
        out = torch.empty(points.shape, dtype=torch.float32, device=points.device)
        for own, block in zip(out.split(ROWS), points.split(ROWS), strict=True):
            own.copy_((block.double() - centre) / scale if scale != 1 else block.double() - centre)
        return out

    plain = x(1.0)
    least, most = (float(edge) for edge in plain.aminmax())
    if least < most and scale_of(max(-least, most)) == 1 and math.isfinite(most - least):
        return plain, 1.0
    scale = scale_of(max(float((block.double() - centre).abs().max()) for block in points.split(ROWS)))
    return x(scale), scale


def _propose(x: Tensor, wanted: int, by: str) -> tuple[Tensor, Tensor, str]:
    """Return proposals int64 [N, wanted] in no order, the largest computed distance of each row [N], and the engine."""
    if by != "torch":
        try:
            apart, ids = faiss_nearest(x.cpu().contiguous().numpy(), wanted)
            return torch.from_numpy(ids).to(x.device), torch.from_numpy(apart[:, -1]).to(x.device), "faiss"
        except MissingExtraError:
            if by == "faiss":
                raise
    norms = x.square().sum(1)  # [N]
    step = max(1, BLOCK_BYTES // (4 * len(x)))
    with torch.autocast(x.device.type, enabled=False):
        found = [torch.addmm(norms, own, x.T, alpha=-2).topk(wanted, dim=1, largest=False) for own in x.split(step)]
    last = torch.cat([part.values[:, -1] for part in found]) + norms
    return torch.cat([part.indices for part in found]), last, "torch"


def _correct(rows: Tensor, exact: ExactDistances, centre: Tensor, indices: Tensor, squares: Tensor) -> None:
    """Look for points nearer than the neighbours found of some rows, and write the right ones, [N, K] each.

    One far outlier makes all other norms long, and then no point is ruled out for any row: that takes O(N²D) differences.
    """
    if not len(rows):
        return
    z, k, n = exact.points, indices.shape[1], len(exact.points)

    def wide(block: Tensor) -> Tensor:
        return (block.double() - centre) / exact.scale  # x [b, D]

    kept = [wide(z)] if 8 * z.numel() <= WIDENED_BYTES else None  # a larger pool is widened block by block, each time
    norms = torch.cat([wide(block).square().sum(1) for block in z.split(ROWS)])  # [N]
    error = 6 * gamma(z.shape[1] + 16, torch.float64)
    for own in rows.split(max(1, BLOCK_BYTES // (8 * n))):
        mine = wide(z[own])
        apart = torch.cat([mine @ x.T for x in kept or map(wide, z.split(ROWS))], dim=1)  # [b, N]
        apart = apart.mul_(-2).add_(norms).add_(norms[own, None])
        near = apart < squares[own, -1:] * (1 - DIGITS)
        missed = near.sum(1) > near.gather(1, indices[own]).sum(1)
        if bool(missed.any()):
            ids = apart[missed].topk(min(k + MARGIN, n), dim=1, largest=False).indices
            indices[own[missed]], squares[own[missed]] = exact.nearest(own[missed], ids, k)
        far, lost = squares[own, -1] * (1 + PRECISE), error * norms[own]
        for row in ((far > 0) & (lost > DIGITS * far)).nonzero()[:, 0]:
            ids = (apart[row] <= (1 + error) * far[row] + lost[row]).nonzero()[:, 0]
            indices[own[row]], squares[own[row]] = exact.nearest_among(own[row], ids, k)

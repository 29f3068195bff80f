"""Similarities of features, as functions of their squared distances.

    cosine      s_ij = (1 + cos(φ_i, φ_j)) / 2 = 1 − ‖z_i − z_j‖² / 4,   z = φ/‖φ‖
    euclidean   s_ij = 1 − ‖φ_i − φ_j‖² / c,       c = 4 max_i ‖φ_i − μ‖²  (at least the largest squared distance)
    rbf         s_ij = exp(−‖φ_i − φ_j‖² / 2σ²),   2σ² is the mean squared distance of two examples if σ is not given

Each lies in [0, 1] and s_ii = 1. A feature vector of zeros counts as a direction of its own: its cosine with others is 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from coreselect.errors import ShapeError, UnknownNameError

SIMILARITIES = ("cosine", "euclidean", "rbf")
GRID = 2.0**-24  # float32 holds every multiple of it in [0, 1], and float64 adds 2²⁹ of them without rounding
LARGEST = 1e150  # size of a feature whose square is still a float64
BLOCK_BYTES = 4 << 20
ROWS = 1024  # that are processed at once
CACHED_BYTES = 1 << 19  # of a block on a CPU; larger blocks do not fit its cache

Kind = Literal["cosine", "euclidean", "rbf"]


@dataclass(frozen=True, eq=False)
class Similarity:
    """How similar the examples of a pool are to each other.

    Attributes:
        points: z [N, D]; similarity depends on their distances.
        scale: > 0; squared distances are divided by it.
        kind: `cosine`, `euclidean` or `rbf`.
    """

    points: Tensor
    scale: float
    kind: Kind

    def from_squares(self, squares: Tensor) -> Tensor:
        """‖z_i − z_j‖², float64 […] → s_ij in [0, 1], float64 […]."""
        return self.from_shares(squares / self.scale)

    def from_shares(self, share: Tensor) -> Tensor:
        """‖z_i − z_j‖²/scale […] → s_ij in [0, 1], in the same memory."""
        return share.neg_().exp_() if self.kind == "rbf" else share.neg_().add_(1).clamp_(0, 1)

    def on_grid(self, squares: Tensor) -> Tensor:
        """Return s_ij rounded to multiples of 2⁻²⁴, float32: float64 sums of them are exact, so equal sums are equal."""
        return self.from_squares(squares).div_(GRID).round_().mul_(GRID).float()

    def column(self, x: int) -> Tensor:
        """Return s_ix of all examples i, float64 [N]."""
        return self.from_squares(squared_distances_to(self.points, self.points[x].double()))

    def sums(self) -> Tensor:
        """Return Σ_i s_ix for every example x, float64 [N]; no matrix is stored."""
        if self.kind == "rbf":
            return torch.cat([self.from_squares(block).sum(1) for _, block in self.blocks()])
        n, total = len(self.points), mean_point(self.points) * len(self.points)  # Σ_i z_i [D]
        parts = [(z.square().sum(1), z @ total) for z in (block.double() for block in self.points.split(ROWS))]
        norms, products = (torch.cat(part) for part in zip(*parts, strict=True))  # [N]
        return n - (n * norms - 2 * products + norms.sum()) / self.scale

    def matrix(self) -> Tensor:
        """Return all s_ij on the grid, float32 [N, N]; only half of them are computed."""
        n = len(self.points)
        out = torch.empty(n, n, dtype=torch.float32, device=self.points.device)
        for at, block in self.blocks(upper=True):
            own, after = slice(at, at + len(block)), slice(at + len(block), n)
            out[own, at:] = self.on_grid(block)
            out[after, own] = out[own, after].T
        return out

    def blocks(self, *, upper: bool = False) -> Iterator[tuple[int, Tensor]]:
        """Yield all ‖z_i − z_j‖² as (first row, float64 [b, N]), by matrix products.

        Args:
            upper: only the columns from the block's first row on.
        """
        z = self.points.double()  # [N, D]
        norms = z.square().sum(1)  # [N]
        step = max(1, BLOCK_BYTES // (8 * len(z)))
        for at in range(0, len(z), step):
            own, first = slice(at, at + step), at if upper else 0
            squares = (norms[own, None] + norms[first:] - 2 * (z[own] @ z[first:].T)).clamp_(min=0)
            squares.diagonal(at - first).zero_()
            yield at, squares


def similarity(features: Tensor, kind: Kind = "cosine", bandwidth: float | None = None) -> Similarity:
    """Return the similarity of a pool's features; it stores one copy of them.

    Args:
        features: φ [N, D], finite; half precision is widened block by block.
        kind: `cosine`, `euclidean` or `rbf`.
        bandwidth: σ > 0 of `rbf`, in units of the features; None: 2σ² is the mean squared distance of two examples.
    Raises:
        ShapeError, UnknownNameError: as `check_similarity` says.
    """
    check_similarity(kind, bandwidth)
    if kind == "cosine":
        return Similarity(_directions(features), 4.0, kind)
    z = features.new_empty(features.shape, dtype=_working(features))  # [N, D]; centred, so that products cancel less
    centre = mean_point(features).to(z)
    for own, block in zip(z.split(ROWS), features.split(ROWS), strict=True):
        torch.sub(block.to(z), centre, out=own)
    norms = torch.cat([block.double().square().sum(1) for block in z.split(ROWS)])  # [N]
    c = 4 * float(norms.max()) if kind == "euclidean" else 2 * float(norms.mean() - mean_point(z).square().sum())
    c = 2 * bandwidth**2 if bandwidth is not None else c
    return Similarity(z, c if c > 0 else 1.0, kind)


def check_similarity(kind: str, bandwidth: float | None) -> None:
    """Raise an error if the settings of a similarity are not possible.

    Raises:
        UnknownNameError: no similarity has that name.
        ShapeError: the bandwidth is not positive, or the similarity has none.
    """
    if kind not in SIMILARITIES:
        raise UnknownNameError(f"no similarity is called {kind!r}; there are {', '.join(SIMILARITIES)}.")
    if bandwidth is not None and (kind != "rbf" or not 0 < bandwidth < float("inf")):
        raise ShapeError(f"bandwidth is the σ > 0 of similarity='rbf', got {bandwidth} for {kind!r}: leave it out.")


def mean_point(points: Tensor) -> Tensor:
    """Return the mean of points [N, D] in float64, [D]."""
    total = torch.zeros(points.shape[1], dtype=torch.float64, device=points.device)
    for block in points.split(ROWS):
        total += block.double().sum(0)
    return total / len(points)


def squared_distances_to(points: Tensor, target: Tensor, ids: Tensor | None = None) -> Tensor:
    """Return ‖z_i − target‖² from differences in float64: exactly 0 for equal points.

    Args:
        points: z [N, D] of any floating-point type.
        target: [D] float64.
        ids: which points, int64 [A]; None: all.
    Returns:
        float64 [N] or [A]. Only a block of bounded size is stored beside it.
    """
    step = max(1, (CACHED_BYTES if points.device.type == "cpu" else BLOCK_BYTES) // (8 * points.shape[1] + 1))
    out = torch.empty(len(points if ids is None else ids), dtype=torch.float64, device=points.device)
    parts = points.split(step) if ids is None else (points.index_select(0, part) for part in ids.split(step))
    for mine, part in zip(out.split(step), parts, strict=True):
        torch.sum((part.double() - target).square_(), 1, out=mine)
    return out


def _directions(features: Tensor) -> Tensor:
    """Return φ/‖φ‖ [N, D]; if some φ = 0, one more column is 1 for those rows and 0 for others."""
    width = features.shape[1]
    zero = torch.cat([(block == 0).all(1) for block in features.split(ROWS)])  # [N]
    some = bool(zero.any())
    z = features.new_empty(len(features), width + some, dtype=_working(features))
    for own, block, none in zip(z.split(ROWS), features.split(ROWS), zero[:, None].split(ROWS), strict=True):
        wide = block.to(z.dtype)
        largest = wide.abs().amax(1, keepdim=True) if width else wide.new_zeros(len(wide), 1)
        wide = wide / largest.masked_fill(none, 1)
        own[:, :width] = wide.div_(wide.norm(dim=1, keepdim=True).masked_fill_(none, 1))
        if some:
            own[:, width:] = none.to(z.dtype)
    return z


def _working(features: Tensor) -> torch.dtype:
    """Return the type that features are worked on in: half precision is widened."""
    return torch.float64 if features.dtype == torch.float64 else torch.float32

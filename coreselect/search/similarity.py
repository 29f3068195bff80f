"""Squared distances to a point, and similarities as functions of them.

    cosine      s_ij = (1 + cos(φ_i, φ_j)) / 2 = 1 − ‖z_i − z_j‖² / 4,   z = φ/‖φ‖
    euclidean   s_ij = 1 − ‖φ_i − φ_j‖² / c,       c = 4 max_i ‖φ_i − μ‖²  (at least the largest squared distance)
    rbf         s_ij = exp(−‖φ_i − φ_j‖² / 2σ²),   2σ² the mean squared distance of two examples where σ is not given

Each lies in [0, 1] and s_ii = 1. A feature that is zero is a direction of its own: its cosine with any other is 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from coreselect.errors import NonFiniteError, ShapeError, UnknownNameError, first_few

SIMILARITIES = ("cosine", "euclidean", "rbf")
GRID = 2.0**-24  # float32 holds every multiple of it in [0, 1], and float64 adds 2²⁹ of them without rounding
LARGEST = 1e150  # of a feature: its square is still a float64
BLOCK_BYTES = 4 << 20
ROWS = 1024  # that are looked at at once; results are written in place: small ones kept between blocks split the heap
CACHED_BYTES = 1 << 19  # of a block on a CPU: larger ones leave its cache

Kind = Literal["cosine", "euclidean", "rbf"]


@dataclass(frozen=True, eq=False)
class Similarity:
    """How alike the examples of a pool are.

    Attributes:
        points: z [N, D], what distances are of.
        scale: what squared distances are divided by, > 0.
        kind: `cosine`, `euclidean` or `rbf`.
    """

    points: Tensor
    scale: float
    kind: Kind

    def of(self, squares: Tensor) -> Tensor:
        """‖z_i − z_j‖², float64 […] → s_ij in [0, 1], float64 […]."""
        share = squares / self.scale
        return share.neg_().exp_() if self.kind == "rbf" else share.neg_().add_(1).clamp_(0, 1)

    def on_grid(self, squares: Tensor) -> Tensor:
        """Return s_ij rounded to multiples of 2⁻²⁴, float32: their float64 sums are exact, so that ties are ties."""
        return self.of(squares).div_(GRID).round_().mul_(GRID).float()

    def column(self, x: int) -> Tensor:
        """s_ix of all examples i, float64 [N]."""
        return self.of(squares_to(self.points, self.points[x].double()))

    def sums(self) -> Tensor:
        """Σ_i s_ix of all examples x, float64 [N]; no matrix is kept."""
        if self.kind == "rbf":
            return torch.cat([self.of(block).sum(1) for _, block in self.blocks()])
        z = self.points.double()  # [N, D]
        norms = z.square().sum(1)  # [N]
        return len(z) - (len(z) * norms - 2 * (z @ z.sum(0)) + norms.sum()) / self.scale

    def matrix(self) -> Tensor:
        """All s_ij on the grid, float32 [N, N]; half of them are computed."""
        n = len(self.points)
        out = torch.empty(n, n, dtype=torch.float32, device=self.points.device)
        for at, block in self.blocks(upper=True):
            own, after = slice(at, at + len(block)), slice(at + len(block), n)
            out[own, at:] = self.on_grid(block)
            out[after, own] = out[own, after].T
        return out

    def blocks(self, *, upper: bool = False) -> Iterator[tuple[int, Tensor]]:
        """Yield all ‖z_i − z_j‖² as (first row, float64 [b, N]), by matrix products; upper: columns from the first row on."""
        z = self.points.double()  # [N, D]
        norms = z.square().sum(1)  # [N]
        step = max(1, BLOCK_BYTES // (8 * len(z)))
        for at in range(0, len(z), step):
            own, first = slice(at, at + step), at if upper else 0
            squares = (norms[own, None] + norms[first:] - 2 * (z[own] @ z[first:].T)).clamp_(min=0)
            squares.diagonal(at - first).zero_()
            yield at, squares


def similarity(features: Tensor, kind: Kind = "cosine", bandwidth: float | None = None) -> Similarity:
    """Make the similarity of a pool's features; it keeps one copy of them.

    Args:
        features: φ [N, D], finite.
        kind: `cosine`, `euclidean` or `rbf`.
        bandwidth: σ > 0 of `rbf`, in units of the features; None: as the formula says.
    Raises:
        ShapeError, UnknownNameError: as `refuse` says.
    """
    refuse(kind, bandwidth)
    if kind == "cosine":
        return Similarity(_directions(features), 4.0, kind)
    z = features - mean(features).to(features)  # [N, D]: near the origin, where products cancel least
    norms = torch.cat([block.double().square().sum(1) for block in z.split(ROWS)])  # [N]
    c = 4 * float(norms.max()) if kind == "euclidean" else 2 * float(norms.mean() - mean(z).square().sum())
    c = 2 * bandwidth**2 if bandwidth is not None else c
    return Similarity(z, c if c > 0 else 1.0, kind)


def refuse(kind: str, bandwidth: float | None) -> None:
    """Refuse a similarity that there is not.

    Raises:
        UnknownNameError: no similarity is called that.
        ShapeError: a bandwidth that is not positive, or for a similarity that has none.
    """
    if kind not in SIMILARITIES:
        raise UnknownNameError(f"no similarity is called {kind!r}; there are {', '.join(SIMILARITIES)}.")
    if bandwidth is not None and (kind != "rbf" or not 0 < bandwidth < float("inf")):
        raise ShapeError(f"bandwidth is the σ > 0 of similarity='rbf', got {bandwidth} for {kind!r}: leave it out.")


def usable(features: Tensor) -> Tensor:
    """Return features [N, D] as float32 or float64.

    Raises:
        NonFiniteError: some are NaN, infinite, or too large to square.
    """
    out = features if features.dtype in (torch.float32, torch.float64) else features.float()
    if not out.shape[1]:
        return out
    bad = torch.empty(len(out), dtype=torch.bool, device=out.device)
    for mine, block in zip(bad.split(ROWS), out.split(ROWS), strict=True):
        mine.copy_(~(block.abs().amax(1) < LARGEST))  # NaN is not less
    if bool(bad.any()):
        where = bad.nonzero().flatten().tolist()
        raise NonFiniteError(
            f"the features of examples {first_few(where)} hold NaN, infinity or numbers beyond 10¹⁵⁰: leave those out, or "
            "mend the network.",
            where,
        )
    return out


def mean(points: Tensor) -> Tensor:
    """Average points [N, D] over N in float64, by blocks: [D]."""
    total = torch.zeros(points.shape[1], dtype=torch.float64, device=points.device)
    for block in points.split(ROWS):
        total += block.double().sum(0)
    return total / len(points)


def squares_to(points: Tensor, target: Tensor) -> Tensor:
    """‖z_i − target‖² by differences, in float64 whatever the points' type: exact where points coincide.

    Args:
        points: z [N, D].
        target: [D] float64.
    Returns:
        float64 [N]; beside it a block of bounded size is all the memory taken.
    """
    step = max(1, (CACHED_BYTES if points.device.type == "cpu" else BLOCK_BYTES) // (8 * points.shape[1] + 1))
    out = torch.empty(len(points), dtype=torch.float64, device=points.device)
    for mine, part in zip(out.split(step), points.split(step), strict=True):
        torch.sum((part.double() - target).square_(), 1, out=mine)
    return out


def distinct(points: Tensor) -> tuple[Tensor, Tensor]:
    """Find the points that differ: (first index of each, ascending, int64 [M]; how many points each stands for, int64 [M])."""
    seen: dict[bytes, int] = {}
    first: list[int] = []
    count: list[int] = []
    for i, row in enumerate((points + 0.0).cpu().numpy()):  # −0 is 0
        known = seen.setdefault(row.tobytes(), len(first))
        if known == len(first):
            first.append(i)
            count.append(0)
        count[known] += 1
    return torch.tensor(first, device=points.device), torch.tensor(count, device=points.device)


def _directions(features: Tensor) -> Tensor:
    """φ/‖φ‖ [N, D], in the features' type; with one more column, 1 where φ = 0, if there is such a row."""
    largest = features.abs().amax(1, keepdim=True) if features.shape[1] else features.new_zeros(len(features), 1)
    zero = largest == 0  # [N, 1]
    z = features / largest.masked_fill(zero, 1)
    z /= z.norm(dim=1, keepdim=True).masked_fill_(zero, 1)
    return torch.cat([z, zero.to(z)], 1) if bool(zero.any()) else z

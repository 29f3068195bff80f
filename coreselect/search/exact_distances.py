"""Distances of proposed neighbours in float64: by products where these can tell them apart, else by differences.

    d_ij = ‖z_i − z_j‖² = ‖z_i‖² + ‖z_j‖² − 2⟨z_i, z_j⟩

The right side, with a product for each proposal alone, takes a quarter of the time of the left. Its error is relative to the
norms, not to the distance (Higham, *Accuracy and stability of numerical algorithms*, 2002, section 3.1): for every j proposed for i

    e_i = 2 γ_{D+16} (‖z_i‖² + max_j ‖z_j‖²) + tiny

A row is decided by differences where two of its k + 1 smallest distances differ by 2 e_i or less, or where e_i is more than
`PRECISE` of the smallest distance to another point. Among equally near points, those of lowest index come first.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from coreselect.gradients.products import dots
from coreselect.gradients.rows import gamma
from coreselect.search.similarity import ROWS

WIDENED_BYTES = 256 << 20  # of points in float64
BLOCK_BYTES = 16 << 20  # of a block of differences on a GPU
CACHED_BYTES = 512 << 10  # of a block of differences on a CPU: it stays in the cache of a core
PRECISE = 1e-10  # the largest relative error of a distance by products
TINY = 2.0**-1060  # what float64 may lose of a product below its range


@dataclass(frozen=True, eq=False)
class ExactDistances:
    """Points, and their distances divided by s².

    Attributes:
        points: z [N, D].
        scale: s > 0, a power of two.
        norms: ‖z_i‖², float64 [N], if products may be used: on a CPU, in float64, one row after the other, with s = 1; else
            None.
    """

    points: Tensor
    scale: float
    norms: Tensor | None

    @classmethod
    def of(cls, points: Tensor, scale: float) -> "ExactDistances":
        """Widen points to float64 if that takes little memory; larger pools are widened block by block, at each use."""
        z = points.double() if 8 * points.numel() <= WIDENED_BYTES else points
        by_products = z.device.type == "cpu" and z.dtype == torch.float64 and z.is_contiguous() and scale == 1
        norms = torch.cat([block.square().sum(1) for block in z.split(ROWS)]) if by_products else None
        return cls(z, scale, norms)

    def nearest(self, rows: Tensor, ids: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Order proposals j, int64 [b, K′], of rows i, int64 [b], by distance, then by index: the first k, and d_ij/s².

        Distances are symmetric, and right to `PRECISE` of themselves. [b, D] numbers are copied.
        """
        own = rows[:, None]
        absent = ~(ids == own).any(1)
        if bool(absent.any()):
            ids = ids.clone()
            ids[absent, -1] = own[absent, 0]
        if self.norms is None:
            found, ids = self._ordered_by_differences(own, ids)
            return ids[:, :k], found[:, :k]
        squares, error = self._by_products(self.norms, rows, ids)
        found, order = squares.sort(dim=1)
        ids = ids.gather(1, order)
        near = found[:, : k + 1]
        apart = near.diff(dim=1) > 2 * error[:, None]
        unsure = ~(apart.all(1) & (error[:, None] <= PRECISE * near[:, 1:2]).all(1))
        if bool(unsure.any()):
            found[unsure], ids[unsure] = self._ordered_by_differences(own[unsure], ids[unsure])
        return ids[:, :k], found[:, :k]

    def nearest_among(self, i: Tensor, ids: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return the k nearest to point i of some points, ascending int64 [m], as [k], and d_ij/s²."""
        own = i.view(1, 1)
        squares = torch.cat([self._by_differences(own, part[None])[0] for part in ids.split(ROWS)])
        found, order = squares.sort(stable=True)
        return ids[order[:k]], found[:k]

    def _by_products(self, norms: Tensor, rows: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return d_ij of rows i [b] and j [b, K′], float64 [b, K′], and e_i [b]."""
        z = self.points
        products = dots(z[rows], z, ids)
        mine, theirs = norms[rows, None], norms[ids]  # [b, 1], [b, K′]
        squares = products.mul_(-2).add_(theirs + mine).masked_fill_(ids == rows[:, None], 0.0)
        error = 2 * gamma(z.shape[1] + 16, z.dtype) * (mine[:, 0] + theirs.max(1).values) + z.shape[1] * TINY
        return squares, error

    def _ordered_by_differences(self, own: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Return d_ij/s² of i [b, 1] and j [b, K′], ascending, and j in that order; equally near ones go by index."""
        ids = ids.sort(1).values
        found, order = self._by_differences(own, ids).sort(dim=1, stable=True)
        return found, ids.gather(1, order)

    def _by_differences(self, own: Tensor, ids: Tensor) -> Tensor:
        """Return d_ij/s² of i [b, 1] and j [b, K′], float64 [b, K′]: exactly 0 for equal points.

        Differences are made in one buffer that fits the cache of a CPU.
        """
        z, wide, width = self.points, ids.shape[1], self.points.shape[1]
        out = torch.empty(ids.shape, dtype=torch.float64, device=z.device)
        step = max(1, (CACHED_BYTES if z.device.type == "cpu" else BLOCK_BYTES) // (8 * wide * width + 1))
        buffer = torch.empty(min(step, len(ids)) * wide, width, dtype=z.dtype, device=z.device)
        for at in range(0, len(ids), step):
            block = ids[at : at + step]
            apart = torch.index_select(z, 0, block.flatten(), out=buffer[: block.numel()]).double()
            apart = apart.view(*block.shape, width).sub_(z[own[at : at + step]])
            if self.scale != 1:
                apart.div_(self.scale)
            torch.sum(apart.square_(), 2, out=out[at : at + step])
        return out

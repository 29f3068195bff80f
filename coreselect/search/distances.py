"""Squared distances by norms and one product, in float32, between bounds that hold the exact value.

    ‖x_i − x_j‖² = ‖x_i‖² + ‖x_j‖² − 2⟨x_i, x_j⟩,    x = (z − μ)/s,   s a power of two near max |z − μ|

Rounding changes this by at most e_ij = ε(‖x_i‖² + ‖x_j‖²) + tiny: ε counts the rounding of x to float32 (4u), of the norms
and the sum (8u), and of the product (γ_D ‖x_i‖·‖x_j‖; Higham, *Accuracy and stability of numerical algorithms*, 2002, 3.1).
The points are centred, so that a distant origin costs no precision, and scaled, so that squares stay inside float32.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from coreselect.gradients.products import times
from coreselect.gradients.rows import gamma
from coreselect.search.similarity import mean_point, squared_distances_to

BLOCK_BYTES = 1 << 19  # of points that one product reads, in float32
PAIRS = 1 << 18  # products that one step holds
KEPT_BYTES = 256 << 20
WATCHED_BYTES = 64 << 20
EXACT_BYTES = 1 << 20  # of differences in float64 that one step holds
TINY = 2.0**-120  # squares of numbers below float32's range are lost
PLAIN = 40  # centred points whose largest entry is between 2^-40 and 2^40 are not scaled
ROUNDED = 1 + 2.0**-22  # ‖v‖ in float32 is at most this times ‖v‖
LEAST = 500  # s is at least 2^-500, so that s² is a float64


class Distances:
    """Distances of a pool's points to some of them.

    The points keep their type and place (half precision, memory-mapped, not contiguous): they are centred and widened block by
    block, and never copied as a whole.

    Args:
        points: z [N, D], finite, of any floating-point type.
    """

    def __init__(self, points: Tensor) -> None:
        self.points = points
        width = max(1, points.shape[1])
        self._rows = max(1, BLOCK_BYTES // (4 * width))
        centre = mean_point(points)  # μ [D]
        largest = max(float((b.double() - centre).abs().amax()) if b.numel() else 0.0 for b in self._split())
        self._scale = scale_of(largest)  # s
        plain = self._scale == 1
        self._centre = centre.to(torch.float32 if plain and points.dtype != torch.float64 else torch.float64)
        self.squares = torch.cat([x.double().square().sum(1) for _, x in self.blocks()])  # ‖x_i‖² [N]
        self._error = gamma(width + 16, torch.float32)  # ε
        self.longest = math.sqrt(float(self.squares.max()))  # max ‖x_i‖
        # Products need no centring if that would gain less than two bits.
        self._reach = self.longest + float(centre.norm())  # ≥ max ‖z_i‖
        self._kept: Tensor | None = None  # x as a matrix
        self._as_they_are = plain and points.dtype == torch.float32 and self._reach <= 4 * self.longest
        self.unit = self._scale**2  # turns squares of x into squares of z
        self.smallest = width * math.ulp(0.0)  # what float64 may lose of a square

    def scaled(self, z: Tensor) -> Tensor:
        """Return (z − μ)/s in float64."""
        return (z.double() - self._centre) / self._scale

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield (rows, x [b, D] float32) for all points."""
        at = 0
        for block in self._split():
            yield slice(at, at + len(block)), self._scaled(block)
            at += len(block)

    def at(self, ids: Tensor) -> Tensor:
        """Return x of some points, float32 [A, D]."""
        return self._scaled(self.points.index_select(0, ids))

    def upper_shift(self, ids: Tensor | slice) -> Tensor:
        """Return (1 + ε)‖x‖² + tiny of some points, float32: the sum of two minus 2⟨x_i, x_j⟩ is at least ‖x_i − x_j‖²."""
        return self.squares[ids].mul(1 + self._error).add_(TINY).float()

    def lower_shift(self, ids: Tensor | slice) -> Tensor:
        """Return (1 − ε)‖x‖² − tiny: the sum of two minus 2⟨x_i, x_j⟩ is at most ‖x_i − x_j‖²."""
        return self.squares[ids].mul(1 - self._error).sub_(TINY).float()

    def upper(self, to: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Yield (rows, bounds ≥ ‖x_i − x_j‖² [A, r] float32) of some points to all, in blocks that fit a cache."""
        if not len(to):
            return
        x = self.at(to)  # [A, D]
        shift = self.upper_shift(to)[:, None]  # [A, 1]
        step = max(16, PAIRS // len(to))
        with torch.autocast(x.device.type, enabled=False):
            for rows, block in self.blocks():
                own = self.upper_shift(rows)  # [b]
                for at in range(0, len(block), step):
                    part = block[at : at + step]
                    bounds = torch.addmm(own[at : at + step], x, part.T, alpha=-2).add_(shift)
                    yield slice(rows.start + at, rows.start + at + len(part)), bounds.clamp_(min=0)

    def products(self, vector: Tensor) -> tuple[Tensor, float]:
        """Return ⟨x_i, v⟩ of all points, float32 [N], and a bound of their error.

        Points that must be centred or widened for it are kept in that form if that takes little memory.

        Args:
            vector: v [D] float64.
        """
        length = float(vector.norm())
        small = length == 0 or 2.0**-PLAIN <= length <= 2.0**PLAIN
        scale = 1.0 if small else math.ldexp(1.0, math.frexp(length)[1])  # so that v stays inside float32
        v = (vector / scale).float()
        if self._as_they_are:
            out, reach = times(self.points, v), self._reach
            out -= float(self._centre.double() @ v.double())
        elif 4 * self.points.numel() <= KEPT_BYTES:
            self._kept = torch.cat([x for _, x in self.blocks()]) if self._kept is None else self._kept
            out, reach = times(self._kept, v), self.longest
        else:
            out, reach = torch.cat([times(x, v) for _, x in self.blocks()]), self.longest
        error = self._error * reach * (length / scale * ROUNDED) + TINY
        return (out, error) if scale == 1 else (out.double().mul_(scale), error * scale)

    def nearest(self, ids: Tensor, to: Tensor) -> Tensor:
        """Return min_j ‖z_i − z_j‖² over `to`, float64 [A], from differences in float64.

        Only those pairs are computed in float64 that rounding cannot rule out.
        """
        out = torch.full((len(ids),), torch.inf, dtype=torch.float64, device=self.points.device)
        if not len(to):
            return out
        x = self.at(to)
        high, low = self.upper_shift(to), self.lower_shift(to)
        step = max(1, PAIRS // len(to))
        with torch.autocast(x.device.type, enabled=False):
            for at in range(0, len(ids), step):
                own = ids[at : at + step]
                products = torch.mm(self.at(own), x.T).mul_(-2)  # [b, T]
                most = (products + high).amin(1) + self.upper_shift(own)  # [b]
                close = products.add_(low).add_(self.lower_shift(own)[:, None]) <= most[:, None]
                i, j = close.nonzero(as_tuple=True)
                out[at : at + step].scatter_reduce_(0, i, self.between(own[i], to[j]), "amin")
        return out

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        """Return ‖z_a − z_b‖² of pairs, float64 [A], from differences in float64."""
        step = max(1, EXACT_BYTES // (8 * max(1, self.points.shape[1])))
        parts = [
            (self.points[i].double() - self.points[j].double()).square_().sum(1)
            for i, j in zip(a.split(step), b.split(step), strict=True)
        ]
        return torch.cat(parts) if parts else self.squares.new_empty(0)

    def pairs(self, ids: Tensor, to: Tensor, *, by_products: bool) -> Iterator[tuple[slice, Tensor]]:
        """Yield (rows of ids, ‖z_i − z_j‖² [b, A] float64) of some points to some.

        Args:
            by_products: in float64 by norms and products, whose error is relative to the norms; else by differences.
        """
        width = max(1, self.points.shape[1])
        step = max(1, (PAIRS if by_products else EXACT_BYTES // (8 * width)) // max(1, len(to)))
        y = self.points[to].double() - self._centre  # [A, D]
        norms = y.square().sum(1)  # [A]
        for at in range(0, len(ids), step):
            own = ids[at : at + step]
            x = self.points.index_select(0, own).double() - self._centre  # [b, D]
            if by_products:
                squares = torch.addmm(norms, x, y.T, alpha=-2).add_(x.square().sum(1)[:, None]).clamp_(min=0)
            else:
                squares = self.between(own.repeat_interleave(len(to)), to.repeat(len(own))).view(len(own), -1)
            yield slice(at, at + len(own)), squares

    def watched(self, ids: Tensor) -> Callable[[int], Tensor]:
        """Return a function x → ‖z_i − z_x‖² of some points, float64 [A], from differences in float64.

        The points are kept in float64 if that takes little memory.
        """
        if 8 * len(ids) * self.points.shape[1] > WATCHED_BYTES:
            return lambda x: squared_distances_to(self.points, self.points[x].double(), ids)
        z = self.points.index_select(0, ids).double()  # [A, D]
        return lambda x: (z - self.points[x].double()).square_().sum(1)

    def _split(self) -> Sequence[Tensor]:
        return self.points.split(self._rows)

    def _scaled(self, z: Tensor) -> Tensor:
        x = z.to(self._centre.dtype) - self._centre
        return x.float() if self._scale == 1 else x.div_(self._scale).float()


def scale_of(largest: float) -> float:
    """Return s for centred points whose largest entry is given: 1 where squares stay inside float32 as they are."""
    if largest == 0 or 2.0**-PLAIN <= largest <= 2.0**PLAIN:
        return 1.0
    return math.ldexp(1.0, max(-LEAST, math.frexp(largest)[1]))

"""Coverage of gradients by each other, from their distances, with lazy gains: Minoux, "Accelerated greedy algorithms for
maximizing submodular set functions", 1978.

    F(S) = Σ_i max_{j ∈ S} (c − d_ij) = n·c − Σ_i m_i,   m_i = min_{j ∈ S} d_ij  (c if S is empty),   c = max d
    F(S ∪ {j}) − F(S) = Σ_i max(0, m_i − d_ij)

The candidates j are the members of a class. They cover each other (i is one of them), or examples that are no candidates.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from coreselect.gradients.rows import Rows
from coreselect.types import Float64, Int64

AT_ONCE = 64  # examples whose distances or gains are computed together
FIRST = 4  # the first gains of a pick; often they are all that is needed


def distances(rows: Rows, a: Int64, b: Int64) -> Tensor:
    """Return ‖g_i − g_j‖ of rows a to rows b, [A, B] in working precision; 0 of a row to itself.

    ‖g_i‖² + ‖g_j‖² − 2⟨g_i, g_j⟩ is summed in float64, but ⟨g_i, g_j⟩ is rounded to working precision u. So d has an error of
    about u·‖g‖²/d, and values below √u·‖g‖ are rounding.
    """
    norms = rows.norms()  # [N]
    i, j = (torch.from_numpy(ids).to(norms.device) for ids in (a, b))
    products = rows.gram(i, j)
    squares = ((norms[i] ** 2)[:, None] + (norms[j] ** 2)[None]).sub_(products, alpha=2)  # [A, B] float64
    return squares.clamp_(min=0).sqrt_().masked_fill_(i[:, None] == j[None], 0.0).to(products.dtype)


def nearest(rows: Rows, ids: Int64, among: Int64) -> tuple[Int64, Float64]:
    """Return for each of some rows the nearest of others, int64 [n], and its distance, float64 [n]; the first of equally near."""
    owner, near = np.empty(len(ids), np.int64), np.empty(len(ids))
    for at in range(0, len(ids), AT_ONCE):
        d = distances(rows, ids[at : at + AT_ONCE], among).cpu().numpy()  # [b, A]
        owner[at : at + AT_ONCE], near[at : at + AT_ONCE] = among[d.argmin(1)], d.min(1)
    return owner, near


class ClassDistances:
    """Distances of the members of one class to what they cover: a stored matrix, or blocks computed when they are needed.

    Args:
        rows: of everything.
        members: int64 [n], the rows of the class.
        dense_up_to: a matrix of at most the square of this many numbers is stored.
        covered: int64 [m], the rows that are covered; None: the members themselves, m = n.
    """

    def __init__(self, rows: Rows, members: Int64, dense_up_to: int, covered: Int64 | None = None) -> None:
        self._rows, self._members, self.own = rows, members, covered is None
        self._covered = members if covered is None else covered
        self.n, self.m = len(members), len(self._covered)
        both = torch.from_numpy(np.concatenate([members, self._covered]))
        self._longest = float(rows.norms()[both.to(rows.norms().device)].max())
        self._matrix = self._filled() if self.n * self.m <= dense_up_to**2 else None
        self._buffer = None if self._matrix is None else self._matrix.new_empty(min(AT_ONCE, self.n), self.m)

    def of(self, ids: Int64, into: Tensor | None = None) -> Tensor:
        """Return the distances [b, m] of some members, numbered inside the class, to all covered; own memory, or `into`."""
        if self._matrix is not None:
            at = torch.from_numpy(ids).to(self._matrix.device)
            return torch.index_select(self._matrix, 0, at, out=None if into is None else into[: len(at)])
        return distances(self._rows, self._members[ids], self._covered)

    def below(self, m: Tensor, ids: Int64) -> Tensor:
        """Return max(0, m_i − d_ij) [b, m] for some members j, at most `AT_ONCE`; the next call overwrites it."""
        d = self.of(ids, into=self._buffer)
        return torch.sub(m, d, out=d).clamp_(min=0)

    def error(self, d: Tensor) -> Tensor:
        """Return the possible rounding error of distances d: a few u·‖g‖²/d."""
        u = torch.finfo(d.dtype).eps
        return 4 * u * self._longest**2 / d.clamp(min=max(u**0.5 * self._longest, torch.finfo(d.dtype).tiny))

    def summed(self) -> tuple[Float64, float]:
        """Return Σ_i d_ij [n], and the largest distance."""
        parts = self._blocks() if self._matrix is None else self._matrix.split(AT_ONCE)
        both = [(d.sum(1, dtype=torch.float64).cpu(), float(d.max())) for d in parts]
        return torch.cat([s for s, _ in both]).numpy(), max(top for _, top in both)

    def _filled(self) -> Tensor:
        """Return all distances [n, m]; there is no second copy of them."""
        out, at = torch.empty(0), 0
        for block in self._blocks():
            out = torch.empty(self.n, self.m, dtype=block.dtype, device=block.device) if at == 0 else out
            out[at : at + len(block)] = block
            at += len(block)
        return out

    def _blocks(self) -> Iterator[Tensor]:
        for ids in np.array_split(self._members, -(-self.n // AT_ONCE)):
            yield distances(self._rows, ids, self._covered)


class DistanceCover:
    """F at the picks so far, by the members of one class (`coreselect.solvers.coverage.Coverage`).

    A gain never rises, so only those whose last known value could still win are computed again. Gains are summed in float64.
    Gains that the rounding of the distances cannot tell apart are ties. Members that cover each other always have a next pick,
    even of gain 0, because a pick represents itself; else a pick of gain 0 is only ever the first.
    """

    def __init__(self, distances: ClassDistances) -> None:
        self._distances, n, m = distances, distances.n, distances.m
        sums, self._c = distances.summed()
        self._most = m * self._c - sums  # [n] upper bounds on gains, exact before the first pick
        self._fresh = np.ones(n, dtype=bool)  # whether the bound is the gain
        self._free = np.ones(n, dtype=bool)  # not picked yet
        first = distances.of(np.zeros(1, np.int64))  # [1, m], for its dtype and device
        self._m = torch.full_like(first[0], self._c)  # [m] min over S of d_ij
        self._owner = torch.full((m,), n, device=self._m.device)  # [m]
        self._ids = torch.arange(n, device=self._m.device)
        self._chosen = torch.zeros(m, dtype=torch.bool, device=self._m.device)  # covered that represent themselves

    def best(self) -> tuple[int, float] | None:
        leader, tie = -1, 0.0  # the best known candidate, and how far below it rounding can put an equal one
        at_once = FIRST
        while True:
            known = self._free & self._fresh
            if known.any():
                best = int(np.argmax(np.where(known, self._most, -np.inf)))
                if best != leader:
                    leader, d = best, self._distances.of(np.array([best]))[0]  # [m]
                    nearer = d < self._m
                    error = self._distances.error(d[nearer]) + self._distances.error(self._m[nearer])
                    tie = float(error.sum(dtype=torch.float64))
            floor = self._most[leader] - tie if leader >= 0 else -np.inf
            stale = np.flatnonzero(self._free & ~self._fresh & (self._most >= floor))
            if not len(stale):
                j = int(np.flatnonzero(self._free & self._fresh & (self._most >= floor))[0])
                gain = float(self._most[j])
                return None if gain <= 0 and not self._distances.own and not self._free.all() else (j, gain)
            ids = stale
            if len(stale) > at_once:
                ids = np.sort(stale[np.argpartition(-self._most[stale], at_once)[:at_once]])
            at_once = min(2 * at_once, AT_ONCE)
            gains = self._distances.below(self._m, ids).sum(1, dtype=torch.float64)
            self._most[ids] = gains.cpu().numpy()
            self._fresh[ids] = True

    def take(self, x: int) -> None:
        d = self._distances.of(np.array([x]))[0]  # [m]
        nearer = ((d < self._m) | ((d == self._m) & (x < self._owner))) & ~self._chosen
        if self._distances.own:
            nearer[x] = self._chosen[x] = True
        self._m = torch.where(nearer, d, self._m)
        self._owner = torch.where(nearer, self._ids[x], self._owner)
        self._free[x] = False
        self._fresh[:] = False

    def nearest_pick(self) -> tuple[Int64, Float64]:
        """Return the nearest pick int64 [m] of each covered, numbered inside the class, and its distance float64 [m]."""
        return self._owner.cpu().numpy(), self._m.double().cpu().numpy()

    def value(self) -> float:
        return self._distances.m * self._c - float(self._m.double().cpu().numpy().sum())

    def upper(self, k: int) -> float:
        left = np.sort(self._most[self._free])[::-1][:k].clip(min=0)  # F(S ∪ T) − F(S) ≤ Σ_T of last known gains
        return min(self.value() + float(left.sum()), self._distances.m * self._c)

"""Greedy facility location on distances between gradients, lazily: Minoux, "Accelerated greedy algorithms for maximizing
submodular set functions", 1978.

    F(S) = Σ_i max_{j ∈ S} (c − d_ij) = n·c − Σ_i m_i,   m_i = min_{j ∈ S} d_ij  (c where S is empty),   c = max d
    F(S ∪ {j}) − F(S) = Σ_i max(0, m_i − d_ij)
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coreselect.gradients.rows import Rows
from coreselect.types import Float64, Int64

AT_ONCE = 64  # distances of so many examples to their class are computed, or judged, together


def distances(rows: Rows, a: Int64, b: Int64) -> Tensor:
    """‖g_i − g_j‖ of some rows to others, [A, B] in working precision; 0 of a row to itself.

    ‖g_i‖² + ‖g_j‖² − 2⟨g_i, g_j⟩ is summed in float64, but ⟨g_i, g_j⟩ is rounded to working precision u, so that d errs by
    about u·‖g‖²/d, and below √u·‖g‖ is rounding.
    """
    norms = rows.norms()  # [N]
    i, j = (torch.from_numpy(ids).to(norms.device) for ids in (a, b))
    products = rows.gram(i, j)
    squares = (norms[i] ** 2)[:, None] + (norms[j] ** 2)[None] - 2 * products.double()
    return squares.clamp_(min=0).sqrt_().masked_fill_(i[:, None] == j[None], 0.0).to(products.dtype)


class Distances:
    """Distances inside one class: a matrix kept, or blocks computed anew."""

    def __init__(self, rows: Rows, members: Int64, dense_up_to: int) -> None:
        self._rows, self._members = rows, members
        self.n = len(members)
        self._top = float(rows.norms()[torch.from_numpy(members).to(rows.norms().device)].max())
        self._kept = torch.cat(list(self._blocks())) if self.n <= dense_up_to else None

    def of(self, ids: Int64) -> Tensor:
        """Distances [b, n] of some examples to all, both numbered inside the class."""
        if self._kept is not None:
            return self._kept[torch.from_numpy(ids).to(self._kept.device)]
        return distances(self._rows, self._members[ids], self._members)

    def error(self, d: Tensor) -> Tensor:
        """By how much distances may err, a few u·‖g‖²/d."""
        u = torch.finfo(d.dtype).eps
        return 4 * u * self._top**2 / d.clamp(min=max(u**0.5 * self._top, torch.finfo(d.dtype).tiny))

    def summed(self) -> tuple[Float64, float]:
        """Σ_i d_ij [n], and the largest distance."""
        parts = self._blocks() if self._kept is None else self._kept.split(AT_ONCE)
        both = [(d.sum(1, dtype=torch.float64).cpu(), float(d.max())) for d in parts]
        return torch.cat([s for s, _ in both]).numpy(), max(top for _, top in both)

    def _blocks(self) -> Iterator[Tensor]:
        for ids in np.array_split(self._members, -(-self.n // AT_ONCE)):
            yield distances(self._rows, ids, self._members)


@dataclass(frozen=True, slots=True, eq=False)
class Cover:
    """What facility location chose in a class of n, numbered inside it.

    Attributes:
        order: int64 [k] in pick order; gains: float64 [k], F's increase at each.
        owner: int64 [n], the pick that stands for each; nearest: float64 [n], its distance.
        value: F(S); bound: the most F of any k.
        largest: c.
    """

    order: Int64
    gains: Float64
    owner: Int64
    nearest: Float64
    value: float
    bound: float
    largest: float


def cover(block: Distances, k: int) -> Cover:
    """Maximise F greedily and lazily: a gain never rises, so only those whose last known gain could win are computed.

    Gains are summed in float64; those that the rounding of the distances cannot tell apart are equal, and the lowest index wins.
    """
    n = block.n
    sums, c = block.summed()
    most = n * c - sums  # [n] upper bounds on gains, exact before the first pick
    fresh = np.ones(n, dtype=bool)
    alive = np.ones(n, dtype=bool)
    first = block.of(np.zeros(1, np.int64))  # [1, n], for its dtype and device
    m = torch.full_like(first[0], c)  # [n] min over S of d_ij, c before there is any
    owner = torch.full((n,), n, device=m.device)  # [n]
    at = torch.arange(n, device=m.device)
    chosen = torch.zeros(n, dtype=torch.bool, device=m.device)
    order: list[int] = []
    gains: list[float] = []
    for _ in range(k):
        lead, equal = -1, 0.0  # the best known, and how far below it rounding may have put its equals
        while True:
            known = alive & fresh
            if known.any():
                best = int(np.argmax(np.where(known, most, -np.inf)))
                if best != lead:
                    lead, d = best, block.of(np.array([best]))[0]  # [n]
                    equal = float((block.error(d) + block.error(m))[d < m].sum(dtype=torch.float64))
            floor = most[lead] - equal if lead >= 0 else -np.inf
            stale = np.flatnonzero(alive & ~fresh & (most >= floor))
            if not len(stale):
                break
            ids = stale[np.argsort(-most[stale], kind="stable")[:AT_ONCE]]
            most[ids] = (m - block.of(ids)).clamp_(min=0).sum(1, dtype=torch.float64).cpu().numpy()
            fresh[ids] = True
        j = int(np.flatnonzero(alive & fresh & (most >= floor))[0])
        d = block.of(np.array([j]))[0]  # [n]
        nearer = ((d < m) | ((d == m) & (j < owner))) & ~chosen
        nearer[j] = True
        m, owner = torch.where(nearer, d, m), torch.where(nearer, at[j], owner)
        chosen[j], alive[j] = True, False
        order.append(j)
        gains.append(float(most[j]))
        fresh[:] = False
    nearest = m.double().cpu().numpy()
    value = n * c - float(nearest.sum())
    left = np.sort(most[alive])[::-1][:k].clip(min=0)  # F(S ∪ T) − F(S) ≤ Σ_T of last known gains
    bound = min(value + float(left.sum()), n * c)
    return Cover(np.array(order), np.array(gains), owner.cpu().numpy(), nearest, value, bound, c)

"""Match a target by a weighted sum of few rows, weights ≥ 0: orthogonal matching pursuit (Pati, Rezaiifar, Krishnaprasad,
"Orthogonal matching pursuit: recursive function approximation with applications to wavelet decomposition", Asilomar 1993),
with a non-negative refit at every pick (Lawson, Hanson, *Solving least squares problems*, 1974, chapter 23).

    min E(w) = ‖Σ_{i ∈ S} w_i g_i − b‖² + λ‖w‖²   over w ≥ 0, |S| ≤ k
    repeat:  j = argmax over the rest of ⟨g_j, r⟩;   S ← S ∪ {j};   w ← argmin_{w ≥ 0} E on S;   r ← b − Σ w_i g_i

A pick whose weight falls to 0 leaves S and may come back. The loop ends with k picks of positive weight, or when no row has
⟨g_j, r⟩ > 0, which is the optimum over all rows. The residual is stored in parameter space, so each pick costs one pass over
the rows; correlations in Gram space would need N×|S| numbers. G_S + λI = L Lᵀ grows by one row per pick and needs the chosen
rows only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.linalg import get_blas_funcs
from torch import Tensor

from coreselect.gradients.rows import DenseRows, Rows, argmax
from coreselect.gradients.store import allocate
from coreselect.search.exact import ExactSearch
from coreselect.types import Float64, Int64

EXHAUSTED = 1e-12  # a correlation below this share of ‖g_j‖·‖b‖ is rounding of float64


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """The result of matching.

    Attributes:
        order: int64 [k], rows in pick order, the matched ones first.
        weights: float64 [k] ≥ 0, w of each; 0 for rows that only complete the count.
        correlations: float64 [k], ⟨g_j, r⟩ when j was picked.
        matched: how many were picked while E could still fall. The others follow in order of their correlation with the last
            residual.
        residual: ‖Σ w_i g_i − b‖.
        objective: E(w).
    """

    order: Int64
    weights: Float64
    correlations: Float64
    matched: int
    residual: float
    objective: float


def omp(
    rows: Rows, target: Tensor, k: int, *, lam: float = 0.0, tick: Callable[[int, int], None] | None = None
) -> Matching:
    """Choose exactly k rows, with weights.

    Args:
        rows: N candidates.
        target: b [W], in the space of `rows.project`.
        k: 1…N; k rows of W float64 and a k×k factor are stored.
        lam: λ ≥ 0, in units of ‖g‖².
        tick: called with (picks, k).
    Returns:
        The picks. Correlations are compared in float64, ties go to the lowest index.
    """
    b = target.double()
    seek = ExactSearch(rows)
    alive = torch.ones(rows.count, dtype=torch.bool)
    held = _ChosenRows(rows, b, k, lam)
    size, norms = float(b.norm()), rows.norms().cpu()  # ‖b‖, [N]
    found: dict[int, float] = {}  # row → correlation when it was (last) picked
    before = held.objective
    while len(held.members) < k and bool(alive.any()):
        j, correlation = argmax(rows, seek.propose(held.residual, alive), held.residual)
        if correlation <= EXHAUSTED * float(norms[j]) * size:
            break
        alive[j] = False
        if not held.add(j):  # a combination of the chosen rows, so its correlation is rounding
            continue
        found[j] = correlation
        for dropped in held.refit():
            alive[dropped] = True
        if held.objective >= before:  # the rest is rounding
            break
        before = held.objective
        if tick is not None:
            tick(len(held.members), k)
    order = list(held.members)
    matched = len(order)
    if matched < k:
        after = rows.exact(np.arange(rows.count), held.residual)  # [N]
        after[order] = -np.inf
        rest = np.argsort(-after, kind="stable").tolist()
        order += rest[: k - matched]
        found |= {i: float(after[i]) for i in order[matched:]}
    w = np.zeros(k)
    w[:matched] = held.weights
    return Matching(
        np.array(order),
        w,
        np.array([found[i] for i in order]),
        matched,
        float(held.residual.norm()),
        held.objective,
    )


def row_of(rows: Rows, m: int) -> Tensor:
    """Return row m [W] in the space of `rows.project`; a sketched row is returned as it is stored."""
    return rows.matrix[m] if isinstance(rows, DenseRows) else rows.full(m)


class _ChosenRows:
    """The chosen rows, the Cholesky factor of their Gram matrix, their weights and the residual."""

    def __init__(self, rows: Rows, b: Tensor, k: int, lam: float) -> None:
        self._kept = allocate(k, len(b), like=b)  # [k, W] rows, by slot; too many for a device lie on the CPU
        b = b.to(self._kept.device)
        self._rows, self._b, self._lam = rows, b, lam
        self.members: list[int] = []
        self.weights = np.zeros(0)  # [t]
        self.residual = b  # r = b − Σ w_i g_i [W]
        self._slots: list[int] = []  # slot of each member
        self._free: list[int] = []
        self._used = 0  # slots that have been written
        self._factor = np.eye(
            k, order="F"
        )  # L, and 1 on the diagonal below it, so that a solve takes all of it without a copy
        self._solve: Any = get_blas_funcs("trsv", dtype=np.float64)  # one name, so one function is returned
        self._c = np.zeros(k)  # ⟨g_i, b⟩ of each member, 0 beyond

    @property
    def objective(self) -> float:
        """E(w)."""
        return float(self.residual @ self.residual) + self._lam * float(self.weights @ self.weights)

    def add(self, j: int) -> bool:
        """Add row j with weight 0; return False if G_S + λI would be singular to working precision."""
        t, g = len(self.members), row_of(self._rows, j).to(self._b)  # [W]
        a = np.zeros(len(self._c))
        if t:
            a[:t] = (self._kept[: self._used] @ g).cpu().numpy()[self._slots]
        v = self._solve(self._factor, a, lower=1)  # L v = a
        whole = float(g @ g) + self._lam
        rest = whole - float(v @ v)
        if rest <= 64 * np.finfo(np.float64).eps * whole:
            return False
        self._factor[t, :t], self._factor[t, t] = v[:t], rest**0.5
        slot = self._free.pop() if self._free else self._used
        self._used = max(self._used, slot + 1)
        self._kept[slot] = g
        self._slots.append(slot)
        self.members.append(j)
        self._c[t] = float(g @ self._b)
        self.weights = np.append(self.weights, 0.0)
        return True

    def refit(self) -> list[int]:
        """Set w ← argmin_{w ≥ 0} E on S, and the residual; return the rows whose weight fell to 0."""
        dropped: list[int] = []
        while True:
            t, w = len(self.members), self.weights
            z = self._solve(self._factor, self._c, lower=1)  # L z = c
            x = self._solve(self._factor, z, lower=1, trans=1)[:t]  # Lᵀ x = z
            bad = np.flatnonzero(x <= 0)
            if not len(bad):
                break
            share = np.divide(w[bad], w[bad] - x[bad], out=np.zeros(len(bad)), where=w[bad] > 0)
            self.weights = w + share.min() * (x - w)  # go only so far that no weight is negative
            for i in bad[share == share.min()][::-1]:
                dropped.append(self.members[i])
                self._drop(int(i))
        self.weights = x
        spread = torch.zeros(self._used, dtype=self._b.dtype)
        spread[self._slots] = torch.from_numpy(x)
        self.residual = self._b - spread.to(self._b) @ self._kept[: self._used]
        return dropped

    def _drop(self, i: int) -> None:
        """Remove member i: the rows of L below it lose their column l, and their corner C becomes the factor of C Cᵀ + l lᵀ.

        With p = C⁻¹l this is C·chol(I + p pᵀ). Closed form: chol(I + p pᵀ)_aj = p_a p_j / √(s_j s_{j−1}) below the diagonal and
        √(s_j / s_{j−1}) on it, s_j = 1 + p_1² + … + p_j² (Gill, Golub, Murray, Saunders 1974).
        """
        t, L = len(self.members), self._factor
        corner = np.tril(L[i + 1 : t, i + 1 : t])
        if len(corner):
            p = self._solve(np.asfortranarray(corner), L[i + 1 : t, i], lower=1)
            s = 1 + np.cumsum(p**2)
            before = np.append(1.0, s[:-1])
            later = np.zeros_like(corner)  # Σ_{m > j} C_am p_m
            later[:, :-1] = np.cumsum((corner * p)[:, :0:-1], axis=1)[:, ::-1]
            corner = corner * np.sqrt(s / before) + later * (p / np.sqrt(s * before))
        L[i : t - 1, :i] = L[i + 1 : t, :i].copy()
        L[i : t - 1, i : t - 1] = corner
        L[t - 1, : t - 1], L[t - 1, t - 1] = 0.0, 1.0
        self._c[i : t - 1] = self._c[i + 1 : t].copy()
        self._c[t - 1] = 0.0
        self.weights = np.delete(self.weights, i)
        self._free.append(self._slots.pop(i))
        self.members.pop(i)

"""Greedy maximisation of coverage: the pick of largest gain, ties to the lowest index, decided in float64.

    f(S) = Σ_i w_i max_{j∈S} s_ij,  f(∅) = 0, s ≥ 0;     gain(x | S) = Σ_i w_i max(0, s_ix − b_i),  b_i = max_{j∈S} s_ij

Every gain is kept up to date instead of being evaluated again (Minoux's lazy greedy evaluates fewer; this evaluates none): a pick
raises b_i in few rows, and only there gains fall, by min(s_ij, new b_i) − b_i. With similarities on a grid
(`coreselect.search.similarity.GRID`) all of that is exact, so the picks are those of plain greedy.

Sources: Nemhauser, Wolsey, Fisher, "An analysis of approximations for maximizing submodular set functions", Mathematical
Programming 1978 (f(S) ≥ (1 − 1/e)·max); Lindgren, Wu, Dimakis, "Leveraging sparsity for efficient submodular data
summarization", NeurIPS 2016 (the neighbour graph).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from coreselect.errors import ShapeError
from coreselect.search.neighbours import Neighbours
from coreselect.search.similarity import Similarity, squares_to
from coreselect.types import Certificate, Float64, Int64

GREEDY = 1 - 1 / math.e  # share of the optimum that greedy has at least
TAKEN = -1.0  # the gain of what has been picked; other gains are not negative
BLOCK_BYTES = 1 << 20  # of rows that are looked at at once


class Cover(Protocol):
    """f at the picks so far.

    Attributes:
        gains: gain(x | S) of every candidate x, float64 [M], `TAKEN` where x ∈ S.
        best: b_i, float32 [V].
        weights: w_i, float64 [V].
    """

    gains: Tensor
    best: Tensor
    weights: Tensor

    def take(self, x: int) -> None:
        """Pick x: gains and best are those of S ∪ {x} afterwards."""
        ...

    def unseen(self) -> float:
        """At least what f can still rise by in ways that `gains` does not see."""
        ...


@dataclass(frozen=True, eq=False)
class Covered:
    """What greedy covered.

    Attributes:
        picks: int64 [≤ k], in pick order; it ends early where nothing adds anything.
        gains: float64 [≤ k], positive.
        value: f(S).
        upper: f of any k candidates is at most this: f(S) + the k largest gains left + `unseen`.
    """

    picks: Int64
    gains: Float64
    value: float
    upper: float


def maximise(cover: Cover, k: int, tick: Callable[[int, int], None] | None = None) -> Covered:
    """Pick the candidate of largest gain, k times or until no gain is positive; a cover is used up by it.

    Args:
        cover: f, nothing picked yet.
        k: ≥ 1.
        tick: called with (picks, k).
    """
    picks: list[int] = []
    gains: list[float] = []
    while len(picks) < k:
        x = int(cover.gains.argmax())  # the first of the largest
        gain = float(cover.gains[x])
        if gain <= 0:
            break
        cover.take(x)
        picks.append(x)
        gains.append(gain)
        if tick is not None:
            tick(len(picks), k)
    value = float(cover.weights @ cover.best.double())
    left = cover.gains.clamp(min=0).topk(min(k, len(cover.gains))).values
    return Covered(np.array(picks, np.int64), np.array(gains), value, value + float(left.sum()) + cover.unseen())


def greedy_certificate(value: float, upper: float, *, promised: bool) -> Certificate:
    """State how near f(S) is to the best f of as many picks.

    Args:
        value: f(S).
        upper: f(S) + the largest gains left, at least f of any set as large.
        promised: whether S is plain greedy's, so that f(S) ≥ (1 − 1/e)·max as well.
    """
    promise = f"f(S) ≥ (1 − 1/e)·max, 1 − 1/e = {GREEDY:.4f}, whatever the pool (Nemhauser, Wolsey, Fisher 1978)"
    upper = min(upper, value / GREEDY) if promised else upper
    return Certificate(
        method="submodular",
        value=value,
        upper_bound=upper,
        ratio=value / upper if value > 0 else None,
        assumptions=(
            "f is monotone and submodular as similarities are ≥ 0; it is counted over the pool's own features",
            "no set as large has f above f(S) + the largest gains left at S",
            promise if promised else "no share of the best is promised beforehand: gains were of a neighbour graph",
        ),
        details={"guarantee": GREEDY} if promised else {},
    )


def first_largest(values: Tensor, taken: Tensor, *, scale: float | None = None, slack: float | None = None) -> int:
    """Return the lowest index of the largest value that is not taken.

    Values that float64's rounding cannot tell apart are equal: they differ by no more than `slack`.

    Args:
        values: float64 [N].
        taken: bool [N].
        scale: size of the numbers that values were added up from; None: of the largest value itself.
        slack: None: 10⁻¹² of the scale.
    """
    own = values.masked_fill(taken, -math.inf)
    top = float(own.max())
    if slack is None:
        slack = 1e-12 * (abs(top) if scale is None else scale)
    return int((own >= top - slack).byte().argmax())


class DenseCover:
    """Coverage by a matrix.

    Args:
        similarities: s [V, M] float32, ≥ 0, rows to be covered by columns; gains are exact where it lies on a grid.
        weights: w [V] ≥ 0; None: 1 each.
    Raises:
        ShapeError: s is no matrix, or some s or w is negative or NaN.
    """

    def __init__(self, similarities: Tensor, weights: Tensor | None = None) -> None:
        s = similarities
        if s.ndim != 2 or not bool((s.amin() >= 0) & (s.amax() < math.inf)):
            raise ShapeError(f"coverage needs a matrix of finite similarities ≥ 0, got one of shape {list(s.shape)}.")
        self.similarities = s
        self.weights = torch.ones(len(s), dtype=torch.float64, device=s.device) if weights is None else weights.double()
        if self.weights.shape != s.shape[:1] or not bool((self.weights >= 0).all()):
            raise ShapeError(f"coverage needs a weight ≥ 0 for each of {len(s)} rows, got {list(self.weights.shape)}.")
        self.best = torch.zeros(len(s), dtype=s.dtype, device=s.device)
        self.gains = torch.zeros(s.shape[1], dtype=torch.float64, device=s.device)
        self._step = max(1, BLOCK_BYTES // (4 * s.shape[1]))
        for at in range(0, len(s), self._step):
            self.gains += self.weights[at : at + self._step] @ s[at : at + self._step].double()

    def take(self, x: int) -> None:
        column = self.similarities[:, x].clone()  # [V]
        for rows in (column > self.best).nonzero().flatten().split(self._step):
            old, new = self.best[rows, None], column[rows, None]  # [r, 1]
            fall = self.similarities[rows].clamp_(old, new).sub_(old)  # [r, M]
            self.gains -= self.weights[rows] @ fall.double()
        torch.maximum(self.best, column, out=self.best)
        self.gains[x] = TAKEN

    def unseen(self) -> float:
        return 0.0


class GraphCover:
    """Coverage of points by each other, of which only a neighbour graph is kept: O(N·K) memory.

    A candidate's gain counts the rows whose neighbour it is. No other row could rise above s_i* = the similarity of its last
    neighbour, so gains are exact as soon as every b_i ≥ s_i*, and too small by at most `unseen` before. b is exact always:
    rows below s_i* are compared with every pick.

    Args:
        similarity: of the N points.
        graph: their neighbours.
        weights: w [N] ≥ 0.
    """

    def __init__(self, similarity: Similarity, graph: Neighbours, weights: Tensor) -> None:
        n, k = graph.indices.shape
        self.similarity, self.weights = similarity, weights.double()
        self._ids = graph.indices.int()  # [N, K]
        self._s = similarity.on_grid(graph.squares)  # [N, K]
        whole = k == n
        self._last = torch.zeros_like(self._s[:, -1]) if whole else self._s[:, -1].clone()  # s_i* [N]
        flat = graph.indices.flatten()
        self._edges = flat.argsort(stable=True)  # [N·K], by candidate
        self._ends = torch.bincount(flat, minlength=n).cumsum(0).tolist()
        self._watched = torch.arange(0 if whole else n, device=flat.device)  # all rows with b_i < s_i*, and a few more
        self._is_watched = torch.full((n,), not whole, device=flat.device)
        self._z = similarity.points[: len(self._watched)]  # of the watched
        self.best = torch.zeros(n, dtype=torch.float32, device=flat.device)
        self.gains = torch.zeros(n, dtype=torch.float64, device=flat.device)
        self.gains.index_add_(0, flat, (self._s.double() * self.weights[:, None]).flatten())

    def take(self, x: int) -> None:
        edges = self._edges[self._ends[x - 1] if x else 0 : self._ends[x]]
        rows, new = edges // self._ids.shape[1], self._s.flatten()[edges]  # [E]
        if len(self._watched):
            reached = self.similarity.on_grid(squares_to(self._z, self.similarity.points[x].double()))
            others = ~self._is_watched[rows]
            rows, new = torch.cat([self._watched, rows[others]]), torch.cat([reached, new[others]])
        higher = new > self.best[rows]
        rows, new = rows[higher], new[higher]
        step = max(1, BLOCK_BYTES // (8 * self._ids.shape[1]))
        for r, to in zip(rows.split(step), new.split(step), strict=True):
            old = self.best[r, None]  # [r, 1]
            fall = self._s[r].clamp_(old, to[:, None]).sub_(old).double()  # [r, K]
            fall.mul_(self.weights[r, None])
            self.gains.index_add_(0, self._ids[r].flatten(), fall.flatten(), alpha=-1)
        self.best[rows] = new
        self.gains[x] = TAKEN
        rows = self.open()
        if 2 * len(rows) <= len(self._watched):  # points are gathered anew when half of them need no watching
            self._is_watched[self._watched] = False
            self._is_watched[rows] = True
            self._watched, self._z = rows, self.similarity.points[rows]

    def unseen(self) -> float:
        rows = self.open()
        return float(self.weights[rows] @ (self._last[rows] - self.best[rows]).double())

    def open(self) -> Tensor:
        """Rows that no pick is as like as their last neighbour, b_i < s_i*, int64."""
        return self._watched[self.best[self._watched] < self._last[self._watched]]

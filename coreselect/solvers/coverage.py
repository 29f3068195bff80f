"""Greedy maximisation of coverage: pick the candidate of largest gain; ties go to the lowest index.

    f(S) = Σ_i w_i max_{j∈S} s_ij,  f(∅) = 0, s ≥ 0;     gain(x | S) = f(S ∪ {x}) − f(S) = Σ_i w_i max(0, s_ix − b_i)
    b_i = max_{j∈S} s_ij

Three objects compute the gains: `dense_cover` from a matrix of similarities, `graph_cover` from a neighbour graph, and
`distance_cover` from distances between gradients.

Source: Nemhauser, Wolsey, Fisher, "An analysis of approximations for maximizing submodular set functions", Mathematical
Programming 1978: greedy reaches f(S) ≥ (1 − 1/e)·max.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from coreselect.types import Certificate, Float64, Int64

GUARANTEE = 1 - 1 / math.e  # the share of the optimum that greedy always reaches
TAKEN = -1.0  # stands for the gain of a pick; other gains are not negative


class Coverage(Protocol):
    """f at the picks so far."""

    def best(self) -> tuple[int, float] | None:
        """Return the candidate to pick next and its gain; None if no candidate adds anything."""
        ...

    def take(self, x: int) -> None:
        """Pick x."""
        ...

    def value(self) -> float:
        """Return f(S)."""
        ...

    def upper(self, k: int) -> float:
        """Return a number that f of k candidates cannot exceed: f(S) + the k largest gains that are left."""
        ...


@dataclass(frozen=True, eq=False)
class CoverResult:
    """What greedy picked.

    Attributes:
        picks: int64 [≤ k], in pick order; fewer than k if no candidate adds anything.
        gains: float64 [≤ k], f's increase at each pick.
        value: f(S).
        upper: f of any k candidates is at most this.
    """

    picks: Int64
    gains: Float64
    value: float
    upper: float


def maximise(cover: Coverage, k: int, tick: Callable[[int, int], None] | None = None) -> CoverResult:
    """Pick the candidate of largest gain, k times or until no candidate adds anything.

    Args:
        cover: f with nothing picked yet; the picks are added to it.
        k: ≥ 1.
        tick: called with (picks, k) after each pick.
    """
    picks: list[int] = []
    gains: list[float] = []
    while len(picks) < k:
        found = cover.best()
        if found is None:
            break
        x, gain = found
        cover.take(x)
        picks.append(x)
        gains.append(gain)
        if tick is not None:
            tick(len(picks), k)
    return CoverResult(np.array(picks, np.int64), np.array(gains), cover.value(), cover.upper(k))


class StoredGains(ABC):
    """Coverage whose gains are all stored and updated at each pick, so that none is computed twice.

    A pick raises b_i in few rows. Only there gains fall, by w_i (min(s_ij, new b_i) − min(s_ij, b_i)). With similarities on a
    grid (`coreselect.search.similarity.GRID`) these sums are exact, so the picks are those of plain greedy.

    Attributes:
        gains: gain(x | S) of every candidate x, float64 [M]; `TAKEN` for x ∈ S.
        reached: b_i, float32 [V].
        weights: w_i, float64 [V].
    """

    gains: Tensor
    reached: Tensor
    weights: Tensor

    def best(self) -> tuple[int, float] | None:
        x = int(self.gains.argmax())  # the first of the largest
        gain = float(self.gains[x])
        return None if gain <= 0 else (x, gain)

    @abstractmethod
    def take(self, x: int) -> None:
        """Pick x: `gains` and `reached` are those of S ∪ {x} afterwards."""

    def value(self) -> float:
        return float(self.weights @ self.reached.double())

    def upper(self, k: int) -> float:
        left = self.gains.clamp(min=0).topk(min(k, len(self.gains))).values
        return self.value() + float(left.sum()) + self.unseen()

    def unseen(self) -> float:
        """Return at least how much f can still rise in ways that `gains` does not count."""
        return 0.0


def greedy_certificate(value: float, upper: float, *, promised: bool) -> Certificate:
    """State how near f(S) is to the best f of as many picks.

    Args:
        value: f(S).
        upper: f(S) + the largest gains that are left; f of no set of the same size is larger.
        promised: whether S is the result of plain greedy, so that f(S) ≥ (1 − 1/e)·max as well.
    """
    promise = f"f(S) ≥ (1 − 1/e)·max, 1 − 1/e = {GUARANTEE:.4f}, for every pool (Nemhauser, Wolsey, Fisher 1978)"
    upper = min(upper, value / GUARANTEE) if promised else upper
    return Certificate(
        method="submodular",
        value=value,
        upper_bound=upper,
        ratio=value / upper if value > 0 else None,
        assumptions=(
            "f is monotone and submodular because similarities are ≥ 0; it is summed over the features of the pool",
            "no set of the same size has f above f(S) + the largest gains that are left at S",
            promise if promised else "there is no guarantee in advance: the gains came from a neighbour graph",
        ),
        details={"guarantee": GUARANTEE} if promised else {},
    )

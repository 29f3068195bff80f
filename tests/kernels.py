"""Slow twins of similarities and set functions, and random features to try them on."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from coreselect import Selection, Task, select

Kernel = np.ndarray


def points(n: int, d: int = 4, seed: int = 0) -> np.ndarray:
    """Random features [n, d] whose mean is not 0."""
    return np.random.default_rng(seed).normal(0.3, 1.0, size=(n, d))


def choose(features: np.ndarray, selector: Any, k: int, **more: Any) -> Selection:
    """Select from features only."""
    return select(Task.from_arrays(features=features, **more), selector, k)


def kernel(x: np.ndarray, kind: str) -> Kernel:
    """s_ij by double loop from its formula."""
    n, mu = len(x), x.mean(0)
    square = [[sum((a - b) ** 2 for a, b in zip(x[i], x[j], strict=True)) for j in range(n)] for i in range(n)]
    if kind == "cosine":
        return np.array(
            [[(1 + x[i] @ x[j] / math.sqrt(x[i] @ x[i] * (x[j] @ x[j]))) / 2 for j in range(n)] for i in range(n)]
        )
    if kind == "euclidean":
        return 1 - np.array(square) / (4 * max((p - mu) @ (p - mu) for p in x))
    return np.exp(-np.array(square) / np.mean(square))


def greedily(n: int, k: int, value: Callable[[list[int]], float], near: float = 1e-9) -> tuple[list[int], list[float]]:
    """Pick what raises a set function most, evaluated for every candidate; ties (to rounding) go to the lowest index."""
    picks: list[int] = []
    gains: list[float] = []
    for _ in range(k):
        here = value(picks)
        rise = {x: value([*picks, x]) - here for x in range(n) if x not in picks}
        best = min(x for x, g in rise.items() if g >= max(rise.values()) - near)
        picks.append(best)
        gains.append(rise[best])
    return picks, gains


def coverage(s: Kernel) -> Callable[[Sequence[int]], float]:
    """Σ_i max_{j∈S} s_ij."""
    return lambda S: sum(max(row[j] for j in S) for row in s) if len(S) else 0.0


def cut(s: Kernel, lam: float) -> Callable[[Sequence[int]], float]:
    """λ Σ_{i∈V, j∈S} s_ij − Σ_{i,j∈S} s_ij."""
    return lambda S: lam * sum(s[i][j] for i in range(len(s)) for j in S) - sum(s[i][j] for i in S for j in S)


def radius(x: np.ndarray, S: Sequence[int]) -> float:
    """max_i min_{j∈S} ‖x_i − x_j‖."""
    return max(min(float(np.linalg.norm(a - x[j])) for j in S) for a in x)

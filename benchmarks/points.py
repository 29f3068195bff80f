"""Artificial features, with plain float64 programs that pick among them and value the picks.

f(S) = Σ_i max_{j∈S} (1 + cos(φ_i, φ_j)) / 2        r(S) = max_i min_{j∈S} ‖φ_i − φ_j‖
"""

import heapq
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

BLOCK = 1024  # number of points compared with all picks at once
Float32, Float64 = NDArray[np.float32], NDArray[np.float64]
Picks = Sequence[int] | NDArray[np.int64]


def mixture(n: int, width: int, clusters: int, seed: int) -> Float32:
    """Return features [n, width]: standard normal around centres that are standard normal themselves."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((clusters, width))
    return (centres[rng.integers(clusters, size=n)] + rng.standard_normal((n, width))).astype(np.float32)


def directions(x: Float32) -> Float64:
    """Return φ/‖φ‖ [n, width] in float64."""
    z = x.astype(np.float64)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def coverage(x: Float32, picks: Picks) -> float:
    """f(S)."""
    z = directions(x)
    return float(sum(((1 + part @ z[picks].T) / 2).max(1).sum() for part in _blocks(z)))


def greedy(x: Float32, k: int) -> list[int]:
    """Pick by the largest gain of f, with lazy evaluation (Minoux) and a full matrix."""
    z = directions(x)
    s = (1 + z @ z.T) / 2  # [n, n]
    best = np.zeros(len(x))  # [n]
    known = [(-gain, i) for i, gain in enumerate(s.sum(0).tolist())]
    heapq.heapify(known)
    picks: list[int] = []
    while len(picks) < k:
        i = known[0][1]
        gain = float(np.maximum(s[i] - best, 0).sum())
        heapq.heapreplace(known, (-gain, i))
        if known[0][1] == i:
            heapq.heappop(known)
            picks.append(i)
            best = np.maximum(best, s[i])
    return picks


def radius(x: Float32, picks: Picks) -> float:
    """r(S), by ‖φ_i‖² + ‖φ_j‖² − 2⟨φ_i, φ_j⟩: accurate to 10⁻⁷ of ‖φ‖."""
    z = x.astype(np.float64)
    norms = np.square(z).sum(1)  # [n]
    chosen, of_chosen = z[picks], norms[picks]
    ends = zip(_blocks(z), _blocks(norms), strict=True)
    worst = max((own[:, None] + of_chosen - 2 * part @ chosen.T).min(1).max() for part, own in ends)
    return float(np.sqrt(max(worst, 0.0)))


def farthest_first(x: Float32, k: int) -> list[int]:
    """Pick the example nearest the mean, then the one farthest from the picks, until there are k."""
    z = x.astype(np.float64)
    picks = [int(np.square(z - z.mean(0)).sum(1).argmin())]
    nearest = np.full(len(z), np.inf)
    while len(picks) < k:
        nearest = np.minimum(nearest, np.square(z - z[picks[-1]]).sum(1))
        picks.append(int(nearest.argmax()))
    return picks


def residual(x: Float32, picks: Picks, w: Float64) -> float:
    """‖Σ_{i∈S} w_i g_i − b‖, b the mean of all g."""
    g = x.astype(np.float64)
    return float(np.linalg.norm(w @ g[picks] - g.mean(0)))


def matching(x: Float32, k: int, ridge: float) -> tuple[list[int], Float64]:
    """Match the mean of all rows by k rows: add the row with the largest correlation, then solve for all weights again.

    SciPy solves min over w ≥ 0 of ‖Gᵀw − b‖² + λ‖w‖² with λ = ridge · mean ‖g‖². Rows with weight 0 are removed again.
    """
    g = x.astype(np.float64)
    b, root = g.mean(0), np.sqrt(ridge * np.square(g).sum(1).mean())
    picks: list[int] = []
    w, rest = np.zeros(0), b
    while len(picks) < k:
        correlations = g @ rest
        correlations[picks] = -np.inf
        picks.append(int(correlations.argmax()))
        both = np.vstack([g[picks].T, root * np.eye(len(picks))])  # [width + picks, picks]
        w, _ = nnls(both, np.append(b, np.zeros(len(picks))))
        picks, w = [i for i, size in zip(picks, w, strict=True) if size > 0], w[w > 0]
        rest = b - w @ g[picks]
    return picks, w


def _blocks(z: Float64) -> Iterator[Float64]:
    for at in range(0, len(z), BLOCK):
        yield z[at : at + BLOCK]

"""Drawing exactly k of N, each with a probability of its own: what methods that weight by 1/p have in common.

    π_i = min(1, c·p_i), c such that Σ π_i = k;    weight_i = k / (N π_i);    E[(1/k) Σ_drawn weight_i ℓ_i] = (1/N) Σ_i ℓ_i

by systematic sampling over a random order: Madow, "On the Theory of Systematic Sampling, II", Annals of Mathematical
Statistics 1949.
"""

import numpy as np
import torch

from coreselect.types import Float64, Int64


def capped(p: Float64, k: int) -> Float64:
    """Return π [N]: in (0, 1], proportional to p [N] > 0 where that stays below 1, summing to k ≤ N."""
    sure = np.zeros(len(p), dtype=bool)  # those whose share would pass 1 are taken for certain
    pi = np.ones(len(p))
    while True:
        free = k - int(sure.sum())
        pi[~sure] = free * p[~sure] / p[~sure].sum() if free else 0.0
        over = ~sure & (pi >= 1)
        if not over.any() or sure.all():
            return np.minimum(pi, 1.0)
        sure |= over
        pi[sure] = 1.0


def systematic(pi: Float64, generator: torch.Generator) -> Int64:
    """Draw round(Σπ) positions, i with probability π_i: equal steps through the cumulated π of a random order."""
    order = torch.randperm(len(pi), generator=generator).numpy()
    k = round(float(pi.sum()))
    start = float(torch.rand((), generator=generator, dtype=torch.float64))
    edges = np.cumsum(pi[order])
    edges *= k / edges[-1]  # rounding must not lose the last
    at = np.searchsorted(edges, start + np.arange(k), side="right")
    return order[np.minimum(at, len(order) - 1)]

"""Draw exactly k of N examples, each with its own inclusion probability, for unbiased means with weights 1/π.

    π_i = min(1, c·p_i), c such that Σ π_i = k;    weight_i = k / (N π_i);    E[(1/k) Σ_drawn weight_i ℓ_i] = (1/N) Σ_i ℓ_i

by systematic sampling over a random order: Madow, "On the Theory of Systematic Sampling, II", Annals of Mathematical
Statistics 1949.
"""

import numpy as np
import torch

from coreselect.types import Float64, Int64


def inclusion_probabilities(p: Float64, k: int) -> Float64:
    """Return π [N] in (0, 1] with sum k ≤ N, proportional to p [N] > 0 except for examples that reach 1."""
    certain = np.zeros(len(p), dtype=bool)  # examples that reach 1 and are always drawn
    pi = np.ones(len(p))
    while True:
        free = k - int(certain.sum())
        pi[~certain] = free * p[~certain] / p[~certain].sum() if free else 0.0
        over = ~certain & (pi >= 1)
        if not over.any() or certain.all():
            return np.minimum(pi, 1.0)
        certain |= over
        pi[certain] = 1.0


def systematic_sample(pi: Float64, generator: torch.Generator) -> Int64:
    """Draw round(Σπ) positions, position i with probability π_i: equal steps through the cumulative π in a random order."""
    order = torch.randperm(len(pi), generator=generator).numpy()
    k = round(float(pi.sum()))
    start = float(torch.rand((), generator=generator, dtype=torch.float64))
    edges = np.cumsum(pi[order])
    edges *= k / edges[-1]  # so that rounding does not lose the last one
    at = np.searchsorted(edges, start + np.arange(k), side="right")
    return order[np.minimum(at, len(order) - 1)]

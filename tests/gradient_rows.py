"""Random rows of single examples, and a model's natural gradients, one backward pass each."""

import math
from typing import Any

import cases
import numpy as np
import oracles
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from coreselect.gradients.rows import DenseRows, single_examples

Array = NDArray[np.float64]


def normal(seed: int, *shape: int) -> Array:
    """Gaussian numbers."""
    return np.random.default_rng(seed).normal(size=shape)


def rows_of(g: Array, dtype: torch.dtype = torch.float64) -> DenseRows:
    """An array as rows of single examples."""
    return DenseRows(torch.from_numpy(g).to(dtype), single_examples(len(g)))


def natural_gradients(task: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """∇ of natural cross-entropy in the head of a `ConvNet`, by one backward pass each: pool [N, P], validation's mean [P]."""
    fc = task.model.fc
    params = [fc.weight, fc.bias]

    def gradients(data: cases.Items) -> torch.Tensor:
        y = data.y
        assert y is not None
        return oracles.loop_rows(
            lambda i: oracles.cross_entropy(task.model(data.x[i]), y[i]).sum(), params, [[i] for i in range(len(y))]
        )

    return gradients(task.pool), gradients(task.validation).mean(0)


def all_distances(g: Array) -> Array:
    """‖g_i − g_j‖ [N, N]."""
    return np.asarray(np.sqrt(((g[:, None] - g[None]) ** 2).sum(-1)), np.float64)


def value(g: Array, b: Array, w: Array, lam: float) -> float:
    """Return E(w) by its definition."""
    return float(((w @ g - b) ** 2).sum() + lam * (w**2).sum())


def nonnegative(g: Array, b: Array, lam: float) -> Array:
    """SciPy's argmin of E over w ≥ 0 on all of these rows."""
    a = np.vstack([g.T, math.sqrt(lam) * np.eye(len(g))])
    return np.asarray(nnls(a, np.concatenate([b, np.zeros(len(g))]))[0], np.float64)


def slow_cover(d: Array, k: int) -> tuple[list[int], list[float]]:
    """Add what raises F most, with F written out each time; ties (to rounding) go to the lowest index."""
    c = d.max()

    def f(s: list[int]) -> float:
        return sum(max(c - d[i, j] for j in s) for i in range(len(d))) if s else 0.0

    order: list[int] = []
    gains: list[float] = []
    for _ in range(k):
        here = {j: f([*order, j]) - f(order) for j in range(len(d)) if j not in order}
        best = max(here.values())
        j = min(j for j, v in here.items() if v >= best - 1e-11)
        order.append(j)
        gains.append(here[j])
    return order, gains

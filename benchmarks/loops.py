"""Plain torch programs of the methods that compare one example with all: what a user writes in fifteen lines, in float32.

Each takes features [n, width] and a budget and returns picks. k-means and nearest neighbours are those of FAISS, the library
that a user takes for them.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.points import Float32

Loop = Callable[[Float32, int], list[int]]


def graph_cut(features: Float32, k: int) -> list[int]:
    """Pick by the largest gain 2 Σ_i s_ix − 2 Σ_{j∈S} s_jx − 1, s = (1 + cos)/2; one product of all with each pick."""
    z = F.normalize(torch.from_numpy(features))
    gain = len(z) + z @ z.sum(0) - 1
    picks: list[int] = []
    for _ in range(k):
        picks.append(int(gain.argmax()))
        gain -= 1 + z @ z[picks[-1]]
        gain[picks[-1]] = -math.inf
    return picks


def k_center(features: Float32, k: int) -> list[int]:
    """Pick the example nearest the mean, then always the one farthest from the picks, by norms and one product."""
    x = torch.from_numpy(features)
    x = x - x.mean(0)
    squares = x.square().sum(1)
    near = torch.full_like(squares, math.inf)
    picks = [int(squares.argmin())]
    while len(picks) < k:
        torch.minimum(near, squares + squares[picks[-1]] - 2 * (x @ x[picks[-1]]), out=near)
        near[picks[-1]] = -math.inf
        picks.append(int(near.argmax()))
    return picks


def herding(features: Float32, k: int) -> list[int]:
    """Pick the example nearest (t + 1) μ − Σ_S φ, by norms and one product."""
    x = torch.from_numpy(features)
    x = x - x.mean(0)
    squares = x.square().sum(1)
    rest = torch.zeros(x.shape[1])
    picks: list[int] = []
    for _ in range(k):
        apart = squares - 2 * (x @ rest)
        apart[picks] = math.inf
        picks.append(int(apart.argmin()))
        rest -= x[picks[-1]]
    return picks


def craig(gradients: Float32, k: int) -> list[int]:
    """Pick by the largest gain Σ_i max(0, m_i − d_ij); the matrix of distances is stored, and gains are lazy."""
    g = torch.from_numpy(gradients)
    d = torch.cdist(g, g)
    m = torch.full((len(g),), float(d.max()))
    gain = (m - d).sum(1)
    picks: list[int] = []
    for _ in range(k):
        while True:
            best = int(gain.argmax())
            now = float((m - d[best]).clamp_(min=0).sum())
            gain[best] = now
            if now >= float(gain.max()):
                break
        picks.append(best)
        torch.minimum(m, d[best], out=m)
        gain[best] = -math.inf
    return picks


def facility(features: Float32, k: int) -> list[int]:
    """Pick by the largest gain Σ_i max(0, s_ix − b_i), s = (1 + cos)/2; the matrix is stored, and gains are lazy."""
    z = F.normalize(torch.from_numpy(features))
    s = (1 + z @ z.T) / 2
    reached = torch.zeros(len(z))
    gain = s.sum(1)
    picks: list[int] = []
    for _ in range(k):
        while True:
            best = int(gain.argmax())
            now = float((s[best] - reached).clamp_(min=0).sum())
            gain[best] = now
            if now >= float(gain.max()):
                break
        picks.append(best)
        torch.maximum(reached, s[best], out=reached)
        gain[best] = -math.inf
    return picks


def semdedup(features: Float32, k: int) -> list[int]:
    """Cluster by FAISS's k-means, order each cluster from its centre inwards, keep the least similar to an earlier item."""
    import faiss

    z = F.normalize(torch.from_numpy(features))
    n, width = z.shape
    means = faiss.Kmeans(width, math.ceil(n ** (1 / 3)), niter=10, max_points_per_centroid=n, min_points_per_centroid=1)
    means.train(z.numpy())
    labels = torch.from_numpy(means.assign(z.numpy())[1])
    largest = torch.empty(n)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        order = members[(z[members] @ z[members].mean(0)).argsort()]
        largest[order] = (z[order] @ z[order].T).tril_(-1).sub_(torch.ones(len(order)).diag()).amax(1)
    return largest.argsort()[:k].tolist()


def nearest(features: Float32, k: int) -> np.ndarray:
    """Return the k nearest points of every point by FAISS, int64 [n, k]."""
    import faiss

    return faiss.knn(features, features, k)[1]

"""Features for methods without labels: float64, scaled to unit length, divided into clusters, compared by cosine."""

import numpy as np

from coreselect.search.kmeans import kmeans
from coreselect.support.seeding import derive
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64

DECIMALS = 12  # values that agree to this many digits of the largest value are ties; further digits are rounding


def unit(X: Float64) -> Float64:
    """Scale rows [N, D] to length 1; rows of zeros stay zero."""
    Z = X / np.maximum(np.abs(X).max(1, keepdims=True), np.finfo(np.float64).tiny)  # so that squares do not overflow
    length = np.sqrt((Z * Z).sum(1, keepdims=True))
    return Z / np.where(length > 0, length, 1.0)


def cluster(snapshot: Snapshot, X: Float64, count: int, purpose: str) -> list[Int64]:
    """Divide the rows of X [n, D] by k-means; return the members of each cluster that is not empty, ascending.

    Always by scipy: the selection must not depend on whether FAISS is installed.

    Args:
        count: how many clusters, at most n.
        purpose: keys the random draws.
    """
    seed = derive(snapshot.draw_seed, purpose, "clusters", snapshot.round)
    with snapshot.clock("clusters"):
        return members(kmeans(X, min(count, len(X)), seed=seed, iterations=10, restarts=1, by="scipy"))


def members(labels: Int64) -> list[Int64]:
    """Return the positions of each label, ascending, for all labels that occur, in the order of the labels."""
    order = np.argsort(labels, kind="stable")
    edges = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(order, edges)


def cosine_distances(Z: Float64) -> Float64:
    """Return 1 − cos(z_i, mean of all z) for unit rows Z [m, D]: [m] in [0, 2], and 1 if either vector is zero."""
    return 1 - (Z * unit(Z.mean(0, keepdims=True))).sum(1)  # row by row, so that equal rows give equal results


def descending(values: Float64) -> Int64:
    """Return positions from the largest value to the smallest, ties in order of position; [N] → [N]."""
    scale = np.abs(values).max()
    keys = np.round(values / scale, DECIMALS) if scale > 0 else np.zeros(len(values))
    return np.argsort(-keys, kind="stable")

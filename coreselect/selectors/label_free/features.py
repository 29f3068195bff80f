"""Features for methods without labels: float64, scaled to unit length, divided into clusters, compared by cosine."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.gradients.products import dot_by_rows
from coreselect.search.kmeans import Engine, engine, kmeans, kmeans_needs
from coreselect.support.limits import Needs
from coreselect.support.seeding import derive
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64

ROWS = 512  # that are scaled at once
SMALLEST = 1e-200  # squared lengths above it, and below its inverse, lose nothing
ITERATIONS = 10  # of k-means
MEMBER = 32  # bytes for each number of a cluster's members, while they are compared in float64
DECIMALS = 12  # values that agree to this many digits of the largest value are ties; further digits are rounding


def unit(X: Float64, *, overwrite: bool = False) -> Float64:
    """Scale rows [N, D] to length 1, in their own memory if it may be overwritten; rows of zeros stay zero."""
    with np.errstate(over="ignore", under="ignore"):
        squares = np.einsum("nd,nd->n", X, X)[:, None]  # [N, 1]
    if not len(X) or (squares.min() > SMALLEST and squares.max() < 1 / SMALLEST):
        return np.divide(X, np.sqrt(squares), out=X if overwrite else None)
    Z = X / np.maximum(np.abs(X).max(1, keepdims=True), np.finfo(np.float64).tiny)  # so that no square is 0 or infinite
    length = np.sqrt((Z * Z).sum(1, keepdims=True))
    return Z / np.where(length > 0, length, 1.0)


def unit_rows(features: Tensor, ids: Int64) -> Float64:
    """Return some rows of features [N, D], scaled to length 1 in float64, [b, D]."""
    own = features.index_select(0, torch.from_numpy(ids).to(features.device))
    return unit(own.double().cpu().numpy(), overwrite=True)


def unit_single(features: Tensor) -> NDArray[np.float32]:
    """Return all rows of features [N, D], scaled to length 1, in float32; they are widened block by block."""
    out = np.empty(tuple(features.shape), np.float32)
    for at in range(0, len(out), ROWS):
        out[at : at + ROWS] = unit(features[at : at + ROWS].double().cpu().numpy())
    return out


def cluster(
    snapshot: Snapshot, X: NDArray[Any], count: int, purpose: str, by: Engine = "auto", *, overwrite: bool = False
) -> list[Int64]:
    """Divide the rows of X [n, D] by k-means; return the members of each cluster that is not empty, ascending.

    Args:
        count: how many clusters, at most n.
        purpose: keys the random draws.
        by: `faiss`, `scipy` or `auto`, which is FAISS if it is installed; they draw differently.
        overwrite: whether X may be changed.
    """
    seed = derive(snapshot.draw_seed, purpose, "clusters", snapshot.round)
    with snapshot.clock("clusters"):
        found = kmeans(X, min(count, len(X)), seed=seed, iterations=ITERATIONS, restarts=1, by=by, overwrite=overwrite)
        return members(found)


def cluster_needs(n: int, count: int, d: int, by: Engine) -> Needs:
    """Return what `cluster` needs for features [N, D], with their one float32 copy at unit length."""
    found = kmeans_needs(n, count, d, ITERATIONS, by)
    return replace(found, read=MEMBER * n * d, memory=found.memory + 4 * n * d)


def engine_note(by: Engine) -> str:
    """Say what finds the clusters."""
    return f"clusters by k-means of {'FAISS' if engine(by) == 'faiss' else 'scipy'}"


def members(labels: Int64) -> list[Int64]:
    """Return the positions of each label, ascending, for all labels that occur, in the order of the labels."""
    order = np.argsort(labels, kind="stable")
    edges = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(order, edges)


def cosine_distances(Z: Float64) -> Float64:
    """Return 1 − cos(z_i, mean of all z) for unit rows Z [m, D]: [m] in [0, 2], and 1 if either vector is zero."""
    return 1 - dot_by_rows(Z, unit(Z.mean(0, keepdims=True))[0])  # row by row, so that equal rows give equal results


def descending(values: Float64) -> Int64:
    """Return positions from the largest value to the smallest, ties in order of position; [N] → [N]."""
    scale = np.abs(values).max()
    keys = np.round(values / scale, DECIMALS) if scale > 0 else np.zeros(len(values))
    return np.argsort(-keys, kind="stable")

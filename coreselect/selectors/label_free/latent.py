"""The pool's features as label-free methods read them: in float64, finite, on the unit sphere where angles count, in clusters."""

import numpy as np
from torch import Tensor

from coreselect.errors import NonFiniteError, first_few
from coreselect.search.kmeans import kmeans
from coreselect.support.seeding import derive
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64

DECIMALS = 12  # values that agree to so many digits of the largest are ties: the rest is rounding


def finite_features(shot: Snapshot) -> Tensor:
    """Return the natural features in float64, [n, D], where the snapshot has them.

    Raises:
        RequirementError: there are none.
        NonFiniteError: some hold NaN or infinity.
    """
    X = shot.features().double()  # [n, D]
    bad = (~X.isfinite().all(1)).nonzero().flatten().tolist()
    if bad:
        named = shot.positions[bad].tolist()
        why = f"the features of {first_few(named)} hold NaN or infinity: leave those examples out, or mend the network."
        raise NonFiniteError(why, named)
    return X


def unit(X: Float64) -> Float64:
    """Scale rows to length 1, [N, D]; rows of zeros stay."""
    Z = X / np.maximum(np.abs(X).max(1, keepdims=True), np.finfo(np.float64).tiny)  # squares must not overflow
    length = np.sqrt((Z * Z).sum(1, keepdims=True))
    return Z / np.where(length > 0, length, 1.0)


def cluster(shot: Snapshot, X: Float64, count: int, purpose: str) -> list[Int64]:
    """Divide the rows of X [n, D] by k-means: the members of each cluster that has any, ascending.

    Computed by scipy whether or not FAISS is installed: what is selected must not depend on it.
    """
    seed = derive(shot.draws, purpose, "clusters", shot.round)
    with shot.clock("clusters"):
        return members(kmeans(X, min(count, len(X)), seed=seed, iterations=10, restarts=1, by="scipy"))


def members(labels: Int64) -> list[Int64]:
    """Return the positions of each label that occurs, ascending, in the order of the labels."""
    order = np.argsort(labels, kind="stable")
    edges = np.flatnonzero(np.diff(labels[order])) + 1
    return np.split(order, edges)


def cosine_distances(Z: Float64) -> Float64:
    """Return 1 − cos(z_i, mean of all z) of unit rows Z [m, D], [m] in [0, 2]; 1 where either is zero."""
    return 1 - (Z * unit(Z.mean(0, keepdims=True))).sum(1)  # row by row, so that equal rows give equal bits


def descending(values: Float64) -> Int64:
    """Return positions from the greatest value to the least, ties to the lowest position; [N] → [N]."""
    scale = np.abs(values).max()
    keys = np.round(values / scale, DECIMALS) if scale > 0 else np.zeros(len(values))
    return np.argsort(-keys, kind="stable")

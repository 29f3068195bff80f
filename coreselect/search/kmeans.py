"""k-means by FAISS or scipy: labels a_i and centres c_j that lower Σ_i ‖x_i − c_{a_i}‖².

Source: Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 1982. The first centres are drawn
as in Arthur, Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007: the next centre is drawn with
probability proportional to the squared distance to the nearest centre so far.
"""

import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coreselect.errors import MissingExtraError, NonFiniteError, ShapeError, UnknownNameError
from coreselect.search.faiss import faiss_kmeans
from coreselect.support.devices import host_array
from coreselect.types import Int64

ENGINES = ("auto", "faiss", "scipy")


def kmeans(
    features: NDArray[Any],
    clusters: int,
    *,
    seed: int,
    iterations: int = 25,
    restarts: int = 4,
    by: Literal["auto", "faiss", "scipy"] = "auto",
) -> Int64:
    """Divide points into clusters.

    Args:
        features: x [N, D], finite.
        clusters: k ≥ 1; at most as many as there are points.
        seed: of every draw; no global random state moves.
        iterations: ≥ 1, of each restart.
        restarts: ≥ 1, each with its own first centres; the labels with the smallest sum of squares are returned.
        by: `faiss` computes in float32, `scipy` in float64. Each is deterministic, but they draw differently. `auto` is
            FAISS if it is installed.
    Returns:
        int64 [N] in 0…k−1; a cluster may be empty.
    Raises:
        ShapeError: features are not a matrix with rows, or a count is below 1.
        NonFiniteError: features hold NaN or infinity.
        UnknownNameError: `by` has another value.
        MissingExtraError: `faiss` is asked for and not installed.
    """
    X = host_array(features).astype(np.float64)  # [N, D]
    if X.ndim != 2 or not X.size or min(clusters, iterations, restarts) < 1:
        why = (
            "k-means needs features [N, D] with N, D ≥ 1 and clusters, iterations and restarts of at least 1, got shape "
            f"{X.shape}, {clusters}, {iterations} and {restarts}."
        )
        raise ShapeError(why)
    bad = np.flatnonzero(~np.isfinite(X).all(1))
    if len(bad):
        why = f"{len(bad)} of {len(X)} features hold NaN or infinity: remove these examples, or check the network."
        raise NonFiniteError(why, bad.tolist())
    if by not in ENGINES:
        why = f"no k-means is called {by!r}; there are {', '.join(ENGINES)}."
        raise UnknownNameError(why)
    rng, k = np.random.default_rng(seed), min(clusters, len(X))
    if by != "scipy":
        try:
            # centred, so that float32 loses nothing to a distant origin
            X32 = np.ascontiguousarray(X - X.mean(0), dtype=np.float32)
            return min(
                (faiss_kmeans(X32, first_centres(X, k, rng), iterations) for _ in range(restarts)), key=_sum_of_squares
            )[0]
        except MissingExtraError:
            if by == "faiss":
                raise
    return min((_scipy(X, k, iterations, rng) for _ in range(restarts)), key=_sum_of_squares)[0]


def first_centres(X: NDArray[np.float64], k: int, rng: np.random.Generator) -> Int64:
    """Draw the first centres of k-means++: points [N, D] → k positions, int64 [k]."""
    chosen = [int(rng.integers(len(X)))]
    nearest = ((X - X[chosen[0]]) ** 2).sum(1)  # [N]
    for _ in range(k - 1):
        total = nearest.sum()
        chosen.append(int(rng.choice(len(X), p=nearest / total) if total > 0 else rng.integers(len(X))))
        nearest = np.minimum(nearest, ((X - X[chosen[-1]]) ** 2).sum(1))
    return np.array(chosen, np.int64)


def _scipy(X: NDArray[np.float64], k: int, iterations: int, rng: np.random.Generator) -> tuple[Int64, float]:
    from scipy.cluster.vq import kmeans2  # slow to import, and rarely needed

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a cluster may be empty
        centres, labels = kmeans2(X, k, iter=iterations, minit="++", rng=rng, missing="warn")
    return labels.astype(np.int64), float(((X - centres[labels]) ** 2).sum())


def _sum_of_squares(answer: tuple[Int64, float]) -> float:
    return answer[1]

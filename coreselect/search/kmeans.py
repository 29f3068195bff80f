"""k-means by FAISS or scipy: labels a_i and centres c_j that lower Σ_i ‖x_i − c_{a_i}‖².

Source: Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 1982. The first centres are drawn
as in Arthur, Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007: the next centre is drawn with
probability proportional to the squared distance to the nearest centre so far.
"""

import warnings
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from coreselect.errors import MissingExtraError, NonFiniteError, ShapeError, UnknownNameError
from coreselect.gradients.products import times
from coreselect.search.faiss import faiss_kmeans, require_faiss
from coreselect.support.devices import host_array
from coreselect.support.limits import Needs
from coreselect.types import Int64

ENGINES = ("auto", "faiss", "scipy")
BLOCK_BYTES = 1 << 19

Engine = Literal["auto", "faiss", "scipy"]


def kmeans(
    features: NDArray[Any],
    clusters: int,
    *,
    seed: int,
    iterations: int = 25,
    restarts: int = 4,
    by: Engine = "auto",
    overwrite: bool = False,
) -> Int64:
    """Divide points into clusters.

    Args:
        features: x [N, D], finite, of any floating-point type; memory maps are read block by block.
        clusters: k ≥ 1; at most as many as there are points.
        seed: of every draw; no global random state moves.
        iterations: ≥ 1, of each restart.
        restarts: ≥ 1, each with its own first centres; the labels with the smallest sum of squares are returned.
        by: `faiss` computes in float32, `scipy` in float64. Each is deterministic, but they draw differently. `auto` is
            FAISS if it is installed.
        overwrite: whether a float32 matrix may be changed, which saves FAISS a copy of it.
    Returns:
        int64 [N] in 0…k−1; a cluster may be empty.
    Raises:
        ShapeError: features are not a matrix with rows, or a count is below 1.
        NonFiniteError: features hold NaN or infinity.
        UnknownNameError: `by` has another value.
        MissingExtraError: `faiss` is asked for and not installed.
    """
    X = host_array(features)  # [N, D]
    X = X if X.dtype.kind == "f" else X.astype(np.float64)
    if X.ndim != 2 or not X.size or min(clusters, iterations, restarts) < 1:
        why = (
            "k-means needs features [N, D] with N, D ≥ 1 and clusters, iterations and restarts of at least 1, got shape "
            f"{X.shape}, {clusters}, {iterations} and {restarts}."
        )
        raise ShapeError(why)
    bad = [at + int(i) for at, block in _blocks(X) for i in np.flatnonzero(~np.isfinite(block).all(1))]
    if bad:
        why = f"{len(bad)} of {len(X)} features hold NaN or infinity: remove these examples, or check the network."
        raise NonFiniteError(why, bad)
    rng, k = np.random.default_rng(seed), min(clusters, len(X))
    if engine(by) == "faiss":
        x = _centred(X, overwrite)  # [N, D] float32
        starts = (first_centres(x, k, rng) for _ in range(restarts))
        return min((faiss_kmeans(x, start, iterations) for start in starts), key=_sum_of_squares)[0]
    wide = X.astype(np.float64, copy=False)
    return min((_scipy(wide, k, iterations, rng) for _ in range(restarts)), key=_sum_of_squares)[0]


def kmeans_needs(n: int, clusters: int, width: int, iterations: int, by: Engine) -> Needs:
    """Return what one restart of k-means needs for N points of a width, beside the points.

    FAISS scales the points, in place if it may, and goes over all centres in every iteration. scipy copies the points to float64,
    and draws a first centre by distances to all before it.
    """
    k = min(clusters, n)
    if engine(by) == "faiss":
        return Needs((iterations + 2) * n * k * width, memory=64 * n)
    return Needs((iterations + k / 2) * n * k * width, memory=8 * n * (width + k) + 64 * n)


def engine(by: Engine) -> Literal["faiss", "scipy"]:
    """Return what `by` stands for here.

    Raises:
        UnknownNameError: it has another value.
        MissingExtraError: `faiss` is asked for and not installed.
    """
    if by not in ENGINES:
        raise UnknownNameError(f"no k-means is called {by!r}; there are {', '.join(ENGINES)}.")
    try:
        if by != "scipy":
            require_faiss("k-means by FAISS")
            return "faiss"
    except MissingExtraError:
        if by == "faiss":
            raise
    return "scipy"


def first_centres(X: NDArray[np.floating[Any]], k: int, rng: np.random.Generator) -> Int64:
    """Draw the first centres of k-means++: points [N, D] → k positions, int64 [k].

    Distances are those of norms and one product; what is rounding of them counts as 0.
    """
    norms = np.einsum("nd,nd->n", X, X, dtype=np.float64)  # [N]
    points = torch.from_numpy(X)
    lost = 4 * X.shape[1] * np.finfo(X.dtype).eps  # share of the norms
    nearest = np.full(len(X), np.inf)  # [N]
    chosen = [int(rng.integers(len(X)))]
    while len(chosen) < k:
        both = norms + norms[chosen[-1]]
        squares = both - 2 * times(points, points[chosen[-1]]).numpy()
        np.minimum(nearest, np.where(squares > lost * both, squares, 0.0), out=nearest)
        below = nearest.cumsum()  # its last number is the sum
        drawn = below.searchsorted(rng.random() * below[-1], side="right") if below[-1] > 0 else rng.integers(len(X))
        chosen.append(min(int(drawn), len(X) - 1))
    return np.array(chosen, np.int64)


def _centred(X: NDArray[Any], overwrite: bool) -> NDArray[np.float32]:
    """Return (X − mean)/s as a float32 matrix, s a power of two: neither a distant origin nor a size costs precision."""
    looks = [(b.sum(0, dtype=np.float64), b.min(0), b.max(0)) for _, b in _blocks(X)]
    sums, least, most = (np.array(part) for part in zip(*looks, strict=True))  # [blocks, D] each
    mean = sums.sum(0) / len(X)
    largest = float(np.maximum(most.max(0) - mean, mean - least.min(0)).max())
    scale = np.ldexp(1.0, int(np.clip(np.frexp(largest)[1], -1000, 1000)))
    own = overwrite and X.dtype == np.float32 and X.flags.c_contiguous and X.flags.writeable
    out = X if own else np.empty(X.shape, np.float32)
    for at, block in _blocks(X):
        wide = block - mean  # float64
        out[at : at + len(block)] = wide if scale == 1 else wide / scale
    return out


def _blocks(X: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    step = max(1, BLOCK_BYTES // (8 * X.shape[1]))
    for at in range(0, len(X), step):
        yield at, X[at : at + step]


def _scipy(X: NDArray[np.float64], k: int, iterations: int, rng: np.random.Generator) -> tuple[Int64, float]:
    from scipy.cluster.vq import kmeans2  # slow to import, and rarely needed

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a cluster may be empty
        centres, labels = kmeans2(X, k, iter=iterations, minit="++", rng=rng, missing="warn")
    squares = (((block - centres[labels[at : at + len(block)]]) ** 2).sum() for at, block in _blocks(X))
    return labels.astype(np.int64), float(sum(squares))


def _sum_of_squares(answer: tuple[Int64, float]) -> float:
    return answer[1]

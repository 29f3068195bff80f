"""A pool and the picks of several selections in the plane in which the pool varies most.

    X_c = X − 1μᵀ = U S Vᵀ,   z = (x − μ) V[:, :2],   explained_j = S_j² / Σ S²

Principal components (K. Pearson, "On Lines and Planes of Closest Fit to Systems of Points in Space", Phil. Mag. 1901), of
all rows of the pool or of a sample of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coreselect.errors import NonFiniteError, ShapeError, first_few
from coreselect.support.seeding import derive
from coreselect.types import Float64, Int64

Rows = Callable[[Int64], NDArray[Any]]
_FEWEST, _MOST, _VALUES = 256, 4000, 1 << 26  # rows that the plane is fitted to; numbers in them, where D is large
_BLOCK = 1024  # rows read at once


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """The first two principal components of a matrix.

    Attributes:
        mean: float64 [D], μ.
        axes: float64 [D, 2], orthonormal columns, each with its entry of largest size positive; a column of zeros where
            the rows do not vary in so many directions.
        explained: float64 [2], each one's share of the variance.
    """

    mean: Float64
    axes: Float64
    explained: Float64

    def project(self, rows: NDArray[Any]) -> Float64:
        """Return float64 [m, 2] of rows [m, D]."""
        return (np.asarray(rows, np.float64) - self.mean) @ self.axes


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Where a pool and the picks of several selections lie in one plane.

    Attributes:
        pool: float64 [M, 2], the rows that the plane was fitted to.
        picks: float64 [k_s, 2] for each selection, in pick order.
        explained: float64 [2], shares of the variance of those M rows.
        whole: whether they are the whole pool, and not a sample.
    """

    pool: Float64
    picks: tuple[Float64, ...]
    explained: Float64
    whole: bool


def principal_plane(rows: NDArray[Any]) -> Plane:
    """Return the plane of largest variance of rows [M, D], M ≥ 1, by the smaller of the two Gram matrices.

    Takes M·D·8 bytes for the centred rows and min(M, D)²·8 for the Gram matrix.

    Raises:
        ShapeError: not a matrix.
        NonFiniteError: NaN or infinity.
    """
    if rows.ndim != 2 or 0 in rows.shape:
        raise ShapeError(f"a projection needs rows [M, D] of at least one number, got {list(rows.shape)}.")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise NonFiniteError(
            f"{len(bad)} of the rows to project hold NaN or infinity: remove or mend them.", bad.tolist()
        )
    X = np.array(rows, np.float64)  # [M, D]
    mean = X.mean(axis=0)
    X -= mean
    wide = X.shape[1] > X.shape[0]
    from scipy.linalg import eigh  # the part of the spectrum that is needed, where numpy takes all of it

    gram = X @ X.T if wide else X.T @ X  # [M, M] or [D, D]
    total, size = float(np.trace(gram)), len(gram)
    values, vectors = eigh(gram, subset_by_index=(max(0, size - 2), size - 1))
    axes, explained = np.zeros((X.shape[1], 2)), np.zeros(2)
    for j, (value, vector) in enumerate(zip(values[::-1], vectors.T[::-1], strict=True)):
        if value > 1e-12 * total:  # below it is rounding
            axis = X.T @ vector if wide else vector  # [D]
            axis /= np.linalg.norm(axis)
            axes[:, j] = axis * (1 if axis[np.abs(axis).argmax()] > 0 else -1)
            explained[j] = value / total
    return Plane(mean, axes, explained)


def project(rows: Rows, candidates: Int64, picks: Sequence[Int64], seed: int = 0) -> Projection:
    """Fit the plane to the pool, or to a sample of it, and place the picks in it.

    Args:
        rows: reads the rows [m, D] of so many positions [m].
        candidates: int64 [N], the positions of the pool's examples; of more than 4,000 (fewer where D is above
            16,000) the plane is fitted to a sample.
        picks: int64 [k_s] for each selection, positions of the same kind.
        seed: draws the sample.
    Raises:
        ShapeError, NonFiniteError: rows that are no finite matrix.
    """
    width = max(1, rows(candidates[:1]).size)
    most = min(_MOST, max(_FEWEST, _VALUES // width))
    whole = len(candidates) <= most
    sample = candidates
    if not whole:
        sample = np.sort(np.random.default_rng(derive(seed, "projection")).permutation(candidates)[:most])
    X = rows(sample)  # [M, D]
    plane = principal_plane(X)
    placed = [_placed(rows, plane, chosen) for chosen in picks]
    return Projection(plane.project(X), tuple(placed), plane.explained, whole)


def _placed(rows: Rows, plane: Plane, positions: Int64) -> Float64:
    parts = [plane.project(rows(positions[at : at + _BLOCK])) for at in range(0, len(positions), _BLOCK)]
    out = np.concatenate(parts)  # [k, 2]
    bad = np.flatnonzero(~np.isfinite(out).all(axis=1))
    if len(bad):
        where = first_few(positions[bad].tolist())
        raise NonFiniteError(
            f"rows of picks hold NaN or infinity (positions {where}): remove or mend them.", bad.tolist()
        )
    return out

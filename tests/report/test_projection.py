"""The plane in which selections are drawn is that of the principal components."""

import numpy as np
import pytest

from coreselect.errors import NonFiniteError, ShapeError
from coreselect.report.projection import principal_plane, project


@pytest.mark.parametrize("shape", [(40, 5), (5, 40), (7, 2)])
def test_the_plane_is_that_of_the_singular_vectors(shape: tuple[int, int]) -> None:
    """Axes, coordinates and shares equal numpy's SVD of the centred rows, up to the sign, which is fixed."""
    X = np.random.default_rng(0).normal(size=shape) * np.arange(1, shape[1] + 1) + 3
    plane = principal_plane(X)
    U, S, Vt = np.linalg.svd(X - X.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(plane.project(X)), np.abs(U[:, :2] * S[:2]), atol=1e-9)
    np.testing.assert_allclose(plane.explained, S[:2] ** 2 / (S**2).sum())
    np.testing.assert_allclose(np.abs(plane.axes), np.abs(Vt[:2].T), atol=1e-9)
    assert (plane.axes[np.abs(plane.axes).argmax(axis=0), [0, 1]] > 0).all()


def test_the_plane_of_points_on_a_line() -> None:
    """(0, 0), (3, 4), (6, 8) lie on the axis (0.6, 0.8) at −5, 0, 5 and have no second axis; equal rows have no axis."""
    plane = principal_plane(np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]))
    np.testing.assert_allclose(plane.axes, [[0.6, 0.0], [0.8, 0.0]])
    np.testing.assert_allclose(plane.project(np.array([[0.0, 0.0], [6.0, 8.0]])), [[-5, 0], [5, 0]], atol=1e-12)
    np.testing.assert_allclose(plane.explained, [1, 0])
    for rows in (np.ones((4, 3)), np.ones((1, 1)), np.arange(3.0)[:, None]):
        assert np.isfinite(principal_plane(rows).project(rows)).all()


def test_a_large_pool_is_sampled_and_picks_are_placed_in_order() -> None:
    """Of 5,000 rows the same 4,000 decide the plane each time; picks are projected from their rows, and no other rows are read."""
    X = np.random.default_rng(0).normal(size=(5001, 3)) * [5, 2, 1]
    picks = [np.array([5000, 0]), np.array([7])]
    found, again = (project(lambda at: X[at], np.arange(1, 5001), picks) for _ in range(2))
    assert (found.whole, len(found.pool), [len(p) for p in found.picks]) == (False, 4000, [2, 1])
    np.testing.assert_array_equal(found.pool, again.pool)
    part = project(lambda at: X[at], np.arange(50), picks)
    assert part.whole
    np.testing.assert_allclose(part.picks[0], principal_plane(X[:50]).project(X[[5000, 0]]))


def test_rows_that_cannot_be_projected_are_refused() -> None:
    """NaN in the pool or in a pick, and rows that are not a matrix, raise errors."""
    X = np.ones((6, 2))
    X[5, 0] = np.nan
    with pytest.raises(NonFiniteError, match="1 of the rows"):
        principal_plane(X)
    with pytest.raises(NonFiniteError, match="positions 5"):
        project(lambda at: X[at], np.arange(5), [np.array([5])])
    for wrong in (np.ones(3), np.ones((3, 0))):
        with pytest.raises(ShapeError, match="needs rows"):
            principal_plane(wrong)

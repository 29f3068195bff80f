"""Similarities of features equal their formulas."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from kernels import kernel, points

from coreselect.search.similarity import GRID, similarity, squared_distances_to


@pytest.mark.parametrize("kind", ["cosine", "euclidean", "rbf"])
def test_similarities_equal_their_formulas(kind: Any) -> None:
    """Columns, column sums and the matrix equal the double loop; the matrix is symmetric with ones on the diagonal."""
    x = points(15, seed=1)
    s, want = similarity(torch.from_numpy(x), kind), kernel(x, kind)
    assert np.allclose(torch.stack([s.column(j) for j in range(15)]), want, atol=1e-12)
    assert np.allclose(s.sums(), want.sum(0), atol=1e-10)
    matrix = s.matrix().double().numpy()
    assert abs(matrix - want).max() <= GRID / 2 + 1e-12
    assert (matrix == matrix.T).all()
    assert (np.diag(matrix) == 1).all()
    assert (matrix / GRID == np.round(matrix / GRID)).all()


def test_a_bandwidth_is_in_units_of_the_features() -> None:
    """exp(−‖·‖² / 2σ²) with σ = 2 of points 4 apart is exp(−2)."""
    s = similarity(torch.tensor([[0.0], [4.0]]), "rbf", 2.0)
    assert s.column(0).tolist() == pytest.approx([1.0, math.exp(-2)])


def test_zero_features_have_a_direction_of_their_own() -> None:
    """cos(0, φ) counts as 0 and cos(0, 0) as 1, in any magnitude that a float has."""
    s = similarity(torch.tensor([[0.0, 0.0], [1e-30, 0.0], [0.0, 0.0], [0.0, 1e30]]))
    assert s.column(0).tolist() == pytest.approx([1, 0.5, 1, 0.5])
    assert s.column(1).tolist() == pytest.approx([0.5, 1, 0.5, 0.5])


def test_squares_are_zero_only_between_equals() -> None:
    """Points 10⁻⁶ apart and 1000 from the origin have a squared distance of 10⁻¹², and a point has distance 0 to itself."""
    x = torch.tensor([[1000.0], [1000.000001]], dtype=torch.float64)
    assert squared_distances_to(x, x[0]).tolist() == pytest.approx([0, 1e-12], rel=1e-3)

"""The neighbour graph: each point's nearest points."""

import sys
from typing import Any

import numpy as np
import pytest
import torch
from kernels import points
from scipy.spatial.distance import cdist

from coreselect.errors import MissingExtraError
from coreselect.search.faiss import FASTER, faiss_nearest
from coreselect.search.neighbours import neighbours


@pytest.mark.parametrize("by", ["faiss", "torch"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neighbours_equal_sorting_all_distances(by: Any, dtype: torch.dtype) -> None:
    """Indices and squares are those of scipy's distances, sorted; the point itself comes first."""
    if by == "faiss":
        pytest.importorskip("faiss")
    x = torch.from_numpy(points(70, 5)).to(dtype)
    square = cdist(x.double().numpy(), x.double().numpy(), "sqeuclidean")
    want = np.argsort(square, axis=1, kind="stable")[:, :6]
    found = neighbours(x, 6, by=by)
    assert found.engine == by
    assert found.indices.tolist() == want.tolist()
    assert np.allclose(found.squares, np.take_along_axis(square, want, 1))
    assert found.indices[:, 0].tolist() == list(range(70))


def test_neighbours_agree_with_scikit_learn() -> None:
    """The same neighbours as sklearn's."""
    sklearn = pytest.importorskip("sklearn.neighbors")
    x = points(80, 3)
    want = sklearn.NearestNeighbors(n_neighbors=9, algorithm="brute").fit(x).kneighbors(x, return_distance=False)
    assert neighbours(torch.from_numpy(x), 9).indices.tolist() == want.tolist()


def clustered(spread: float) -> np.ndarray:
    """Five clusters of 60 points, whose centres lie `spread` times as far apart as their points."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 16)) * spread
    return centres[rng.integers(5, size=300)] + rng.normal(size=(300, 16))


@pytest.mark.parametrize("by", ["faiss", "torch"])
@pytest.mark.parametrize("spread", [1e2, 1e3, 1e5])
def test_neighbours_inside_distant_clusters_are_the_nearest(by: Any, spread: float) -> None:
    """Rounding of the clusters' distance hides no neighbour, whether float64 products can tell or only differences."""
    if by == "faiss":
        pytest.importorskip("faiss")
    x = clustered(spread)
    want = np.argsort(cdist(x, x, "sqeuclidean"), axis=1, kind="stable")[:, :6]
    assert neighbours(torch.from_numpy(x), 6, by=by).indices.tolist() == want.tolist()


@pytest.mark.parametrize("by", ["faiss", "torch"])
@pytest.mark.parametrize("size", [1e-140, 1e-30, 1e25, 1e140])
def test_neighbours_of_any_size_are_the_same(by: Any, size: float) -> None:
    """Squares beyond float32 lose no neighbour, and squares of distances grow with the square of the size."""
    if by == "faiss":
        pytest.importorskip("faiss")
    x = torch.from_numpy(points(300, 4))
    plain, found = neighbours(x, 6, by=by), neighbours(x * size, 6, by=by)
    assert found.indices.tolist() == plain.indices.tolist()
    assert torch.allclose(found.squares / size / size, plain.squares)


@pytest.mark.parametrize("by", ["faiss", "torch"])
def test_copies_that_differ_by_rounding_are_told_apart(by: Any) -> None:
    """Twenty copies of fifteen points with noise of 10⁻⁹: products in float64 cannot order them, differences can."""
    if by == "faiss":
        pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(15, 32)), 20, axis=0) + 1e-9 * rng.normal(size=(300, 32))
    want = np.argsort(cdist(x, x, "sqeuclidean"), axis=1, kind="stable")[:, :6]
    assert neighbours(torch.from_numpy(x), 6, by=by).indices.tolist() == want.tolist()


@pytest.mark.parametrize("by", ["faiss", "torch"])
def test_one_distant_point_hides_no_neighbour(by: Any) -> None:
    """A point at 10⁷ makes the norms of all others large; their neighbours stay."""
    if by == "faiss":
        pytest.importorskip("faiss")
    x = points(300, 8)
    x[0] = 1e7
    want = np.argsort(cdist(x, x, "sqeuclidean"), axis=1, kind="stable")[1:, :6]
    assert neighbours(torch.from_numpy(x), 6, by=by).indices[1:].tolist() == want.tolist()


def test_neighbours_do_not_know_of_autocast() -> None:
    """Under the caller's autocast torch proposes the same."""
    x = torch.from_numpy(points(300, 5)).float()
    want = neighbours(x, 4, by="torch").indices.tolist()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert neighbours(x, 4, by="torch").indices.tolist() == want


def test_equally_near_neighbours_go_by_number() -> None:
    """On a line of whole numbers the two points beside come in order; with too few points all are neighbours."""
    found = neighbours(torch.arange(40.0)[:, None], 3)
    assert found.indices[7].tolist() == [7, 6, 8]
    assert found.indices[0].tolist() == [0, 1, 2]
    assert neighbours(torch.arange(4.0)[:, None], 9).indices[3].tolist() == [3, 2, 1, 0]


@pytest.mark.parametrize("by", ["faiss", "torch"])
def test_a_row_holds_itself_in_a_crowd(by: Any) -> None:
    """Among 200 equal points every distance is 0 and nothing is out of range."""
    if by == "faiss":
        pytest.importorskip("faiss")
    found = neighbours(torch.ones(200, 2), 4, by=by)
    assert (found.squares == 0).all()
    assert int(found.indices.max()) < 200


def test_the_settings_of_faiss_are_left_as_they_were() -> None:
    """The search changes two settings of the process for its own time, also if it fails."""
    faiss: Any = pytest.importorskip("faiss")
    held = [getattr(faiss.cvar, name) for name in FASTER]
    neighbours(torch.from_numpy(points(50, 4)), 20, by="faiss")
    with pytest.raises(ValueError, match="unpack"):
        faiss_nearest(np.zeros(3, dtype=np.float32), 2)
    assert [getattr(faiss.cvar, name) for name in FASTER] == held


def test_without_faiss_torch_searches(monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` gives the same answer without FAISS, and `faiss` raises an error that names the extra."""
    x = torch.from_numpy(points(50, 4))
    want = neighbours(x, 5).indices
    monkeypatch.setitem(sys.modules, "faiss", None)
    found = neighbours(x, 5)
    assert found.engine == "torch"
    assert found.indices.tolist() == want.tolist()
    with pytest.raises(MissingExtraError, match="coreselect"):
        neighbours(x, 5, by="faiss")

"""Distances of proposed neighbours: products where they can tell, differences where they cannot."""

from typing import Any

import numpy as np
import pytest
import torch

from coreselect.search import exact_distances
from coreselect.search.exact_distances import PRECISE, ExactDistances


def slowly(z: np.ndarray, ids: np.ndarray, k: int) -> tuple[list[list[int]], np.ndarray]:
    """Sort the proposals of every row by the squares of differences, then by index."""
    found, squares = [], np.empty((len(z), k))
    for i, proposed in enumerate(ids):
        apart = {int(j): float(np.square(z[i] - z[j]).sum()) for j in proposed}
        best = sorted(apart, key=lambda j: (apart[j], j))[:k]
        found.append(best)
        squares[i] = [apart[j] for j in best]
    return found, squares


def proposals(n: int, wide: int, seed: int = 0) -> np.ndarray:
    """Some points for every row, in any order, the row itself among them; int64 [n, wide]."""
    rng = np.random.default_rng(seed)
    return np.stack(
        [rng.permutation(np.r_[i, rng.choice(np.delete(np.arange(n), i), wide - 1, replace=False)]) for i in range(n)]
    )


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note how many rows are decided by differences."""
    seen: list[int] = []
    before = ExactDistances._by_differences

    def noting(self: ExactDistances, own: Any, ids: Any) -> Any:
        seen.append(len(own))
        return before(self, own, ids)

    monkeypatch.setattr(ExactDistances, "_by_differences", noting)
    return seen


CLOUD = np.random.default_rng(1).normal(size=(60, 12))
POOLS = {
    "a cloud": CLOUD,
    "in float32": CLOUD.astype(np.float32),
    "far from the origin": CLOUD + 1e7,
    "so far that squares overflow": CLOUD * 1e140 + 1e155,
    "every point twice": np.repeat(CLOUD[:30], 2, axis=0),
    "a lattice, where most distances are equal": np.stack(np.unravel_index(np.arange(60), (4, 4, 4)), 1).astype(float),
    "all equal": np.ones((60, 3)),
}


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("k", [1, 5, 9])
def test_order_and_squares_are_those_of_differences(pool: str, k: int) -> None:
    """Whatever the pool: nearest first, ties by index, squares to ten digits and 0 for equal points."""
    z, ids = POOLS[pool], proposals(60, 9)
    with np.errstate(over="ignore"):
        want, squares = slowly(z.astype(np.float64), ids, k)
    found, got = ExactDistances.of(torch.from_numpy(z), 1.0).nearest(torch.arange(60), torch.from_numpy(ids), k)
    assert found.tolist() == want
    assert np.allclose(got, squares, rtol=2 * PRECISE, atol=0)


def test_products_decide_a_cloud_and_differences_what_they_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    """No row of a cloud needs differences; one pair of equal points sends the rows that see both of them, and no others."""
    z, ids = CLOUD.copy(), proposals(60, 9)
    seen = counted(monkeypatch)
    ExactDistances.of(torch.from_numpy(z), 1.0).nearest(torch.arange(60), torch.from_numpy(ids), 9)
    assert seen == []
    z[17] = z[4]
    ExactDistances.of(torch.from_numpy(z), 1.0).nearest(torch.arange(60), torch.from_numpy(ids), 9)
    assert seen == [int((np.isin(ids, [4, 17]).sum(1) == 2).sum())]
    assert seen[0] > 0


def test_distances_are_symmetric_and_equally_near_points_stay_equal() -> None:
    """d_ij and d_ji are one number, so methods that compare them see ties where there are some."""
    z = torch.from_numpy(np.random.default_rng(2).normal(size=(90, 33)))
    everyone = torch.arange(90).repeat(90, 1)
    ids, squares = ExactDistances.of(z, 1.0).nearest(torch.arange(90), everyone, 90)
    table = torch.empty(90, 90, dtype=torch.float64).scatter_(1, ids, squares)
    assert torch.equal(table, table.T)


@pytest.mark.parametrize(
    "turn", [lambda x: x.T.copy().T, lambda x: np.repeat(x, 2, axis=1)[:, ::2]], ids=["turned", "strided"]
)
def test_points_that_are_not_contiguous_are_not_copied(turn: Any) -> None:
    """They are compared by differences, and give the same."""
    z, ids = torch.from_numpy(turn(CLOUD)), torch.from_numpy(proposals(60, 9))
    scattered = ExactDistances.of(z, 1.0)
    assert scattered.norms is None
    want = ExactDistances.of(torch.from_numpy(CLOUD), 1.0).nearest(torch.arange(60), ids, 5)[0]
    assert scattered.nearest(torch.arange(60), ids, 5)[0].tolist() == want.tolist()


def test_a_row_that_was_not_proposed_to_itself_is_put_there() -> None:
    """It takes the place of the last proposal."""
    z = torch.from_numpy(CLOUD)
    found, squares = ExactDistances.of(z, 1.0).nearest(torch.tensor([3]), torch.tensor([[9, 11, 20]]), 3)
    assert sorted(found[0].tolist()) == [3, 9, 11]
    assert found[0, 0] == 3
    assert squares[0, 0] == 0.0


def test_a_large_pool_is_not_widened_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Differences of blocks decide where float64 points would take too much memory."""
    z, ids = torch.from_numpy(CLOUD.astype(np.float32)), torch.from_numpy(proposals(60, 9))
    want = ExactDistances.of(z, 1.0).nearest(torch.arange(60), ids, 5)
    monkeypatch.setattr(exact_distances, "WIDENED_BYTES", 100)
    large = ExactDistances.of(z, 1.0)
    assert large.norms is None
    assert large.points.dtype == torch.float32
    found, squares = large.nearest(torch.arange(60), ids, 5)
    assert found.tolist() == want[0].tolist()
    assert torch.allclose(squares, want[1], rtol=2 * PRECISE, atol=0)

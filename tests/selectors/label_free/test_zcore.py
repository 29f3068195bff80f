"""ZCore equals its definition, written as loops."""

from typing import Any

import numpy as np
import pytest
import torch
from label_free_tasks import features, task

from coreselect import select
from coreselect.selectors import ZCore
from coreselect.selectors.label_free.features import descending
from coreselect.selectors.label_free.zcore import ENTRIES, kth_smallest, subspaces
from coreselect.support.seeding import generator as seeded


def slow_zcore(X: np.ndarray, selector: ZCore, seed: int) -> np.ndarray:
    """ZCore's scores, one draw and one neighbour at a time."""
    n = len(X)
    own = seeded(seed, "zcore", 0)
    dims, points = subspaces(torch.from_numpy(X.T.copy()), selector.samples or 0, own)
    s = np.zeros(n)
    for d, p in zip(dims.tolist(), points.tolist(), strict=True):
        far = [sum(abs(X[i, a] - b) for a, b in zip(d, p, strict=True)) for i in range(n)]
        star = far.index(min(far))
        s[star] += 1
        gap = {j: sum(abs(X[j, a] - X[star, a]) for a in d) for j in range(n) if j != star}
        last = sorted(gap.values())[min(selector.neighbours, n - 1) - 1]
        near = {j: g for j, g in gap.items() if g <= last}
        copies = [j for j, g in near.items() if g == 0]
        mass = dict.fromkeys(copies, 1.0) if copies else {j: g**-4.0 for j, g in near.items()}
        for j, m in mass.items():
            s[j] -= m / sum(mass.values())
    return s + torch.rand(n, generator=own, dtype=torch.float64).numpy() if selector.random_start else s


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("neighbours", [1, 4, 1000])
@pytest.mark.parametrize("start", [False, True])
def test_zcore_is_its_definition(neighbours: int, start: bool, copies: bool) -> None:
    """Scores are those of the loop over draws and neighbours, and the picks the largest."""
    X = np.tile(features(7, 4), (2, 1)) if copies else features(14, 4)
    selector = ZCore(samples=40, neighbours=neighbours, random_start=start)
    got = select(task(X), selector, 5, 3)
    want = slow_zcore(X, selector, 3)
    assert got.scores is not None
    assert np.allclose(got.scores, want, rtol=1e-9, atol=1e-12)
    assert got.indices.tolist() == descending(want)[:5].tolist()


def test_zcore_blocks_do_not_matter(monkeypatch: Any) -> None:
    """One draw at a time and all at once give the same picks, and the same scores up to the order of summation."""
    want = select(task(features(20)), ZCore(samples=60), 6)
    monkeypatch.setitem(ENTRIES, "cpu", 1)
    got = select(task(features(20)), ZCore(samples=60), 6)
    assert got.indices.tolist() == want.indices.tolist()
    assert got.scores is not None
    assert want.scores is not None
    assert np.allclose(got.scores, want.scores, rtol=1e-12, atol=1e-12)


def test_zcore_draws_triangular_points_of_different_coordinates() -> None:
    """Coordinates differ and are uniform; points follow numpy's triangular distribution (two-sample test at 4.5 σ)."""
    stats = pytest.importorskip("scipy.stats")
    X = np.abs(features(31, 3))
    dims, points = subspaces(torch.from_numpy(X.T.copy()), 4000, seeded(0, "test"))
    assert (dims[:, 0] != dims[:, 1]).all()
    assert np.abs(np.bincount(dims.flatten().numpy()) / 8000 - 1 / 3).max() < 0.03
    of_one = points[dims == 1].numpy()
    low, mode, high = X[:, 1].min(), np.median(X[:, 1]), X[:, 1].max()
    law = stats.triang((mode - low) / (high - low), low, high - low)
    assert stats.kstest(of_one, law.cdf).pvalue > 1e-5


def test_the_smallest_of_each_row_is_torchs() -> None:
    """Numpy's partition and torch's kthvalue find the same value."""
    gap = torch.from_numpy(features(4, 9))
    for k in range(1, 10):
        assert torch.equal(kth_smallest(gap, k), gap.kthvalue(k, dim=1, keepdim=True).values)


def test_zcore_draws_as_many_as_it_says() -> None:
    """The default is 20 draws per example, at most a million; the notes give the number."""
    assert select(task(features(10)), ZCore(), 2).provenance.notes[0] == "200 draws"

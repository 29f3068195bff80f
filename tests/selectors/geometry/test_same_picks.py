"""k-center, herding and graph cut pick what a pass in float64 per pick would pick, ties included, for inputs made to break them.

The slow twins compute every distance at every pick from differences in float64, and take the lowest index of what float64
cannot tell apart.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from kernels import choose, points

from coreselect.search import distances as module
from coreselect.search.distances import Distances
from coreselect.search.similarity import mean_point, similarity
from coreselect.selectors import GraphCut, Herding, KCenter
from coreselect.solvers import falling
from coreselect.solvers.largest import pick_largest


def apart(z: np.ndarray, target: np.ndarray) -> torch.Tensor:
    """‖z_i − target‖² from differences in float64."""
    return torch.from_numpy(np.square(z.astype(np.float64) - target).sum(1))


def k_center(x: np.ndarray, k: int) -> list[int]:
    """Farthest first, from the example nearest the mean."""
    values = [-apart(x, mean_point(torch.from_numpy(x.astype(np.float64))).numpy())]

    def add(j: int) -> None:
        d = apart(x, x[j].astype(np.float64))
        values.append(d if len(values) == 1 else torch.minimum(values[-1], d))

    return pick_largest(lambda: values[-1], add, k)[0]


def herding(x: np.ndarray, k: int) -> list[int]:
    """Nearest to (t + 1) μ − Σ_S φ."""
    mu = mean_point(torch.from_numpy(x.astype(np.float64))).numpy()
    rest = [np.zeros_like(mu)]
    return pick_largest(
        lambda: -apart(x, rest[-1] + mu), lambda j: rest.append(rest[-1] + (mu - x[j].astype(np.float64))), k
    )[0]


def cut(kind: Any, lam: float = 2.0) -> Callable[[np.ndarray, int], list[int]]:
    """Largest gain λ Σ_i s_ix − 2 Σ_{j∈S} s_jx − 1, with a column of s per pick."""

    def picks(x: np.ndarray, k: int) -> list[int]:
        wide = torch.from_numpy(np.ascontiguousarray(x, np.float32 if x.dtype == np.float16 else x.dtype))
        s = similarity(wide, kind)
        gain = lam * s.sums() - 1
        return pick_largest(lambda: gain, lambda j: gain.sub_(s.column(j), alpha=2), k, scale=lam * len(x))[0]

    return picks


METHODS = {
    "k_center": (KCenter(), k_center),
    "herding": (Herding(), herding),
    "cosine": (GraphCut(), cut("cosine")),
    "euclidean": (GraphCut(1.0, "euclidean"), cut("euclidean", 1.0)),
    "rbf": (GraphCut(similarity="rbf"), cut("rbf")),
}


def lattice(n: int) -> np.ndarray:
    """Corners and edges of a small cube, each many times: most distances are equal."""
    return np.random.default_rng(3).integers(0, 3, (n, 3)).astype(np.float32)


HOSTILE = {
    "plain": points(160, 6),
    "float32": points(160, 6).astype(np.float32),
    "float16": points(160, 6).astype(np.float16),
    "wide": points(120, 80).astype(np.float32),
    "one number each": points(160, 1),
    "duplicates": np.tile(points(30, 4), (5, 1)),
    "almost duplicates": np.tile(points(30, 4), (5, 1)) + 1e-9 * points(150, 4, 1),
    "lattice": lattice(150),
    "far from the origin": points(160, 5) + 1e7,
    "far from the origin in float32": (points(160, 5).astype(np.float32) * 64).round() / 64 + np.float32(4096),
    "tiny": 1e-20 * points(160, 5),
    "tiny in float32": (1e-20 * points(160, 5)).astype(np.float32),
    "huge": 1e20 * points(160, 5),
    "huge in float32": (1e20 * points(160, 5)).astype(np.float32),
    "all sizes": points(160, 5) * 10.0 ** np.random.default_rng(0).integers(-30, 30, (160, 1)),
    "one far away": np.concatenate([points(150, 5), [[1e12] * 5]]),
    "opposite": np.concatenate([points(160, 5), -points(160, 5)]).astype(np.float32),
    "every second": points(320, 6)[::2],
    "columns first": np.asfortranarray(points(160, 6).astype(np.float32)),
    "reversed": points(160, 6)[::-1],
    "two": points(2, 3),
    "one": points(1, 3),
    "zeros": np.zeros((150, 3)),
}


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("name", HOSTILE)
def test_picks_are_those_of_float64(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picks of a third of the pool, and of all of it, are those of the slow twin."""
    monkeypatch.setattr(falling, "FEWEST", 16)
    x = HOSTILE[name]
    selector, twin = METHODS[kind]
    for k in sorted({max(1, len(x) // 3), len(x)}):
        assert choose(x, selector, k).indices.tolist() == twin(x, k)


@pytest.mark.parametrize("kind", METHODS)
def test_how_many_are_held_does_not_matter(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 1, 7 or all candidates held, blocks of one row and passes after every third pick, the picks stay the same."""
    selector, twin = METHODS[kind]
    for x in (HOSTILE["lattice"][:100], HOSTILE["float32"][:100]):
        want = twin(x, 60)
        for fewest, most in ((1, 10**6), (7, 3), (10**6, 10**6)):
            monkeypatch.setattr(falling, "FEWEST", fewest)
            monkeypatch.setattr(falling, "MOST_PICKS", most)
            monkeypatch.setattr(module, "BLOCK_BYTES", 4 * fewest)
            monkeypatch.setattr(module, "PAIRS", fewest)
            monkeypatch.setattr(module, "EXACT_BYTES", fewest)
            monkeypatch.setattr(module, "WATCHED_BYTES", 8 * 6 * (7 if fewest == 7 else 10**6))
            monkeypatch.setattr(module, "KEPT_BYTES", 0)
            assert choose(x, selector, 60).indices.tolist() == want


@pytest.mark.parametrize("kind", METHODS)
def test_memory_maps_give_the_same_picks(kind: str, tmp_path: Path) -> None:
    """Read-only float16 and float32 features on disk give the picks of the same features in memory."""
    selector, _ = METHODS[kind]
    for dtype in (np.float16, np.float32):
        x = points(160, 6).astype(dtype)
        np.save(tmp_path / "x.npy", x)
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
        assert choose(mapped, selector, 90).indices.tolist() == choose(x, selector, 90).indices.tolist()


@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in ("all sizes",)])
def test_bounds_hold(name: str) -> None:
    """‖z_i − z_j‖² is never above its upper bound, and products err by less than is said."""
    x = torch.from_numpy(np.ascontiguousarray(HOSTILE[name]))
    d = Distances(x)
    to = torch.arange(0, len(x), 7)
    exact = (x.double()[to, None] - x.double()).square().sum(2)  # [A, N]
    for rows, most in d.upper(to):
        assert bool((most.double() * d.unit + d.smallest >= exact[:, rows]).all())
        assert bool((most.double() * d.unit <= exact[:, rows] * 1.001 + 1e-4 * d.squares.max() * d.unit + 1e-35).all())
    v = d.scaled(x[0].double()) * 3
    products, error = d.products(v)
    right = torch.cat([block.double() @ v for _, block in d.blocks()])
    assert float((products.double() - right).abs().max()) <= error
    assert error <= 1e-3 * (d.longest * float(v.norm()) + float(d.squares.max()) + 1e-30)
    nearest = d.nearest(torch.arange(len(x)), to)
    assert torch.equal(nearest, exact.amin(0)) or bool(((nearest - exact.amin(0)).abs() <= 1e-14 * exact.amin(0)).all())

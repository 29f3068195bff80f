"""A stream that is read once gives what sieve-streaming promises."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from kernels import kernel, points

from coreselect import select_stream
from coreselect.errors import BudgetError, NonFiniteError, ShapeError
from coreselect.solvers.sieve import SieveStreaming


def once(x: np.ndarray, size: int, keys: list[Any] | None = None) -> Iterator[Any]:
    """Batches that can be read only once."""
    for at in range(0, len(x), size):
        batch = x[at : at + size]
        yield batch if keys is None else (keys[at : at + size], batch)


def value(s: np.ndarray, picks: Any) -> float:
    """Σ_i max_{j∈S} s_ij."""
    return float(s[:, list(picks)].max(1).sum())


@pytest.mark.parametrize("epsilon", [0.05, 0.3])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_at_least_the_promised_share_of_the_best(k: int, epsilon: float) -> None:
    """For every small pool f is at least (1/2 − ε) of the exhaustive best, and the certificate's bounds hold."""
    for seed in range(6):
        x = points(9, 3, seed)
        s = kernel(x, "cosine")
        best = max(value(s, S) for S in combinations(range(9), k))
        got = select_stream(once(x, 4), k, reference=x, epsilon=epsilon)
        assert len(set(got.indices.tolist())) == k
        assert got.certificate.details["guarantee"] == pytest.approx(0.5 - epsilon)
        assert value(s, got.indices) >= got.certificate.value - 1e-9
        assert got.certificate.value >= (0.5 - epsilon) * best
        assert got.certificate.upper_bound is not None
        assert got.certificate.upper_bound >= best - 1e-9


def test_it_is_the_algorithm_of_the_paper() -> None:
    """Picks and f are those of Algorithm 2 written with sets, thresholds made anew for every example."""
    x, k, epsilon = points(60, 4, 3), 7, 0.2
    s = kernel(x, "cosine")

    def f(S: list[int]) -> float:
        return value(s, S) if S else 0.0

    sets: dict[int, list[int]] = {}
    m = 0.0
    for e in range(60):
        m = max(m, f([e]))
        allowed = [i for i in range(-5, 60) if m <= (1 + epsilon) ** i <= 2 * k * m]
        sets = {i: sets.get(i, []) for i in allowed}
        for i, S in sets.items():
            v = (1 + epsilon) ** i
            if len(S) < k and f([*S, e]) - f(S) >= (v / 2 - f(S)) / (k - len(S)):
                S.append(e)
    best = max(sets.values(), key=f)
    got = select_stream(once(x, 9), k, reference=x, epsilon=epsilon)
    assert got.certificate.value == pytest.approx(f(best))
    assert got.indices.tolist()[: len(best)] == best


def test_batches_do_not_matter_and_keys_are_remembered() -> None:
    """Batches of 1, 7 or all, arrays or tensors, give the same picks; keys belong to them."""
    x = points(80, 4).astype(np.float32)
    keys = [f"image-{i}" for i in range(80)]
    want = select_stream(once(x, 80), 10, reference=20)
    assert want.keys is None
    assert want.seen == 80
    for size in (1, 7):
        got = select_stream(once(x, size, keys), 10, reference=20)
        assert got.indices.tolist() == want.indices.tolist()
        assert got.keys == tuple(keys[i] for i in got.indices)
    tensors = ((torch.arange(at, at + 8), torch.from_numpy(x[at : at + 8])) for at in range(0, 80, 8))
    assert select_stream(tensors, 10, reference=20).keys == tuple(want.indices.tolist())


@pytest.mark.parametrize("x", [np.zeros((12, 3)), np.ones((12, 3)), np.tile(points(2), (6, 1)), points(12, 1)])
def test_the_budget_is_met_whatever_the_stream_holds(x: np.ndarray) -> None:
    """Zeros, copies, a stream shorter than its reference and a budget of everything: k different positions."""
    for k in (1, 5, 12):
        got = select_stream(once(x, 5), k, reference=100)
        assert sorted(set(got.indices.tolist())) == sorted(got.indices.tolist())
        assert len(got.indices) == k
        assert got.indices.max() < 12


def test_memory_does_not_grow_with_the_stream() -> None:
    """Never more sieves than thresholds between m and 2·k·m, and never more picks in one than k."""
    sieve = SieveStreaming(5, 4, 0.2)
    rng = np.random.default_rng(0)
    for number in range(500):
        sieve.see(number, None, rng.random(5) * (1 + number / 50))
        assert len(sieve._sieves) <= np.log(2 * 4) / np.log(1.2) + 2
        assert max(len(s.picks) for s in sieve._sieves.values()) <= 4


@pytest.mark.parametrize(
    ("batches", "settings", "error", "words"),
    [
        ([points(3)], {"budget": 4}, BudgetError, "holds 3 examples and the budget is 4"),
        ([], {"budget": 1}, BudgetError, "holds 0 examples"),
        ([points(3)], {"budget": 0.5}, BudgetError, "count"),
        ([points(3)], {"budget": True}, BudgetError, "count"),
        ([points(3)], {"budget": 1, "epsilon": 0.5}, ShapeError, "1/2"),
        ([points(3)], {"budget": 1, "reference": 0}, ShapeError, "at least 1"),
        ([points(3)], {"budget": 1, "reference": points(2, 7)}, ShapeError, r"\[B, 7\]"),
        ([points(3), points(3, 5)], {"budget": 1}, ShapeError, "position 3"),
        ([np.arange(3)], {"budget": 1}, ShapeError, "floating-point"),
        ([([1, 2], points(3))], {"budget": 1}, ShapeError, "2 keys"),
        ([([1, 2, 3], points(3)), points(3)], {"budget": 1}, ShapeError, "no keys"),
        ([points(3), np.full((1, 4), np.nan)], {"budget": 1}, NonFiniteError, "position 3"),
    ],
)
def test_refusals_say_what_to_do(batches: Any, settings: Any, error: type[Exception], words: str) -> None:
    """Wrong budgets, settings and streams raise an error of one sentence."""
    with pytest.raises(error, match=words) as caught:
        select_stream(iter(batches), **settings)
    assert "\n" not in str(caught.value)

"""CCS draws as its Algorithm 1 says."""

import cases
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from score_formulas import N, select

from coreselect import Task
from coreselect.history import History
from coreselect.selectors import (
    AIGN,
    CCS,
    EL2N,
    Forgetting,
    Margin,
)
from coreselect.selectors.score.ccs import allocate


def ccs_shares(hardness: list[float], dropped: int, strata: int, k: int) -> dict[int, int]:
    """Algorithm 1 by loops: stratum → how many examples are drawn from it."""
    rest = sorted(range(len(hardness)), key=lambda i: (hardness[i], -i))[: len(hardness) - dropped]
    low, high = min(hardness[i] for i in rest), max(hardness[i] for i in rest)
    B: dict[int, int] = {}
    for i in rest:
        b = 0 if high == low else min(int((hardness[i] - low) / (high - low) * strata), strata - 1)
        B[b] = B.get(b, 0) + 1
    shares, m = {}, k
    while B:
        smallest = min(B, key=lambda b: (B[b], b))
        shares[smallest] = min(B[smallest], m // len(B))
        m -= shares[smallest]
        del B[smallest]
    return shares


@pytest.mark.parametrize(("k", "beta"), [(3, 0.0), (10, 0.3), (17, 0.1), (5, 0.6)])
def test_ccs_allocates_as_algorithm_1(k: int, beta: float) -> None:
    """None of the ⌊βN⌋ hardest is drawn, and every stratum gives as many as in the paper's loop."""
    history = cases.history(N)
    h = (-history.at(np.arange(N)).aum).tolist()
    task = Task.from_arrays(labels=[0] * N, history=history)
    dropped = int(beta * N + 1e-9)
    chosen = select(task, CCS(beta=beta, strata=6), k)
    hardest = sorted(range(N), key=lambda i: -h[i])[:dropped]
    assert not set(chosen.indices.tolist()) & set(hardest)
    rest = [v for i, v in enumerate(h) if i not in hardest]
    low, high = min(rest), max(rest)
    drawn: dict[int, int] = {}
    for i in chosen.indices:
        b = min(int((h[i] - low) / (high - low) * 6), 5)
        drawn[b] = drawn.get(b, 0) + 1
    assert drawn == {b: s for b, s in ccs_shares(h, dropped, 6, k).items() if s}


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.data())
def test_ccs_shares_fit(sizes: list[int], data: st.DataObject) -> None:
    """Shares sum to the budget, none is above its stratum's size, and a stratum is used up before another gets a larger share."""
    sizes = sorted(sizes)
    k = data.draw(st.integers(0, sum(sizes)))
    shares = allocate(sizes, k)
    assert sum(shares) == k
    for share, size in zip(shares, sizes, strict=True):
        assert 0 <= share <= size
        assert share == size or share >= max(shares) - 1


def test_ccs_draws_inside_a_stratum_are_uniform() -> None:
    """With equal scores there is one stratum, and over many rounds each example is drawn about equally often."""
    z = torch.tensor([[1.0, 0.0]]).repeat(10, 1)
    history = History(10)
    history.record(range(10), z, [0] * 10)
    task = Task.from_arrays(labels=[0] * 10, history=history)
    counts = np.zeros(10)
    for round in range(300):
        counts[select(task, CCS(beta=0.0), 3, round=round).indices] += 1
    assert np.abs(counts / 300 - 0.3).max() < 0.1  # 3.8 standard deviations


def test_ccs_says_when_it_drops_less() -> None:
    """If the budget needs more than (1 − β)N, fewer examples are dropped, and a note says so; a budget of N drops none."""
    task = Task.from_arrays(labels=[0] * N, history=cases.history(N))
    assert select(task, CCS(beta=0.5), 10).provenance.notes == ("the history is about attacked inputs",)
    for k in (15, N):
        notes = select(task, CCS(beta=0.5), k).provenance.notes
        assert (
            notes[1] == f"{N - k} of {N} examples were dropped as too hard, because the budget is {k}; beta asks for 10"
        )


def test_ccs_by_other_scores() -> None:
    """CCS also works with el2n, forgetting (with infinities), aign and margin."""
    task = cases.array_task(N, history=cases.history(N))
    for score in (EL2N(), Forgetting(), AIGN(from_history=True), Margin()):
        chosen = select(task, CCS(score=score, beta=0.2), 8)
        assert np.array_equal(chosen.scores, select(task, score, 1).scores)
        hard = -chosen.scores if score.hard == "lowest" else chosen.scores
        assert hard[chosen.indices].max() <= np.sort(hard)[N - 4 - 1]  # 4 dropped

"""SAS maximises its cut greedily."""

import numpy as np
import pytest
from label_free_tasks import features, task

from coreselect import select
from coreselect.selectors import SAS
from coreselect.selectors.label_free.features import unit
from coreselect.selectors.label_free.sas import greedy_cut


def slow_cut(S: list[int], s: np.ndarray) -> float:
    """Σ_{i∉S} Σ_{j∈S} s_ij, one pair at a time."""
    return sum(float(s[i, j]) for i in range(len(s)) if i not in S for j in S)


@pytest.mark.parametrize("k", [1, 4, 9])
def test_sas_gains_are_increments_of_the_cut(k: int) -> None:
    """Each gain is the largest F(S + e) − F(S) of the cut counted pair by pair, and F(V) = 0."""
    Z = unit(features(9, 3, seed=2))
    s = (1 + Z @ Z.T) / 2
    S, gains = greedy_cut(Z, k, 1.0)
    taken: list[int] = []
    for e, gain in zip(S.tolist(), gains, strict=True):
        increments = {i: slow_cut([*taken, i], s) - slow_cut(taken, s) for i in range(9) if i not in taken}
        assert np.isclose(gain, increments[e], rtol=1e-12, atol=1e-12)
        assert np.isclose(increments[e], max(increments.values()), rtol=1e-12, atol=1e-12)
        taken.append(e)
    if k == 9:
        assert abs(gains.sum()) < 1e-12


def test_sas_is_within_half_of_the_best_cut() -> None:
    """On every small set tried, greedy's cut is at least half of the best cut of that size (in practice much closer)."""
    from itertools import combinations

    for seed in range(5):
        Z = unit(features(8, 3, seed=seed))
        s = (1 + Z @ Z.T) / 2
        best = max(slow_cut(list(S), s) for S in combinations(range(8), 3))
        assert greedy_cut(Z, 3, 1.0)[1].sum() >= 0.5 * best


def test_redundancy_is_what_spreads_the_picks() -> None:
    """Three copies of a and two of b, cos(a, b) = 0.6: λ = 0 takes a, a, a; λ = 1 takes a, b, a, with gains worked by hand.

    s_ab = 0.8, so Σ_i s_ia = 3 + 1.6 and Σ_i s_ib = 2.4 + 2. First gains a: 4.6 − 1, b: 4.4 − 1; after a, a: 3.6 − 2, b: 3.4 − 1.6;
    after b, a: 1.6 − 1.6, b: 1.8 − 2.
    """
    X = np.array([[1.0, 0.0]] * 3 + [[0.6, 0.8]] * 2)
    assert select(task(X), SAS(clusters=1, redundancy=0.0), 3).indices.tolist() == [0, 1, 2]
    spread = select(task(X), SAS(clusters=1), 3)
    assert spread.indices.tolist() == [0, 3, 1]
    assert np.allclose(spread.gains, [3.6, 1.8, 0.0], atol=1e-12)


def test_sas_shares_the_budget_over_latent_classes() -> None:
    """With labels, classes of 20, 10 and 10 get 4, 2 and 2 of 8, and no clusters are computed."""
    y = np.repeat([7, 3, 5], [20, 10, 10])
    got = select(task(features(40), labels=y), SAS(latent="labels"), 8)
    assert np.bincount(y[got.indices], minlength=8)[[7, 3, 5]].tolist() == [4, 2, 2]
    assert SAS(latent="labels").requires == {"features", "labels"}
    assert SAS().requires == {"features"}


def test_sas_says_when_picks_lower_the_objective() -> None:
    """k = N takes everything, although half of the picks lower a cut; a note gives their number."""
    got = select(task(features(12)), SAS(clusters=1), 12)
    assert (
        got.provenance.notes[-1] == f"{(got.gains < 0).sum()} picks, the last of their classes, lowered the objective"
    )

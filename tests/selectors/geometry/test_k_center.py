"""k-center greedy equals its definition and is a 2-approximation."""

import itertools

import numpy as np
import pytest
from kernels import choose, points, radius

from coreselect.selectors import KCenter


def test_k_center_by_hand() -> None:
    """For 0…10 on a line: 5 is the mean; 0 and 10 are equally far, so 0, then 10; then 2, 3, 7, 8 are 2 away, so 2, then 7."""
    chosen = choose(np.arange(11.0)[:, None], KCenter(), 5)
    assert chosen.indices.tolist() == [5, 0, 10, 2, 7]
    assert chosen.gains.tolist() == [0, 5, 5, 2, 2]
    assert chosen.certificate is not None
    assert chosen.certificate.value == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_k_center_equals_its_definition(seed: int) -> None:
    """Picks are those of a loop over all pairs, and the stated radius is the covering radius."""
    x = points(25, seed=seed)
    S = [int(np.argmin([np.linalg.norm(a - x.mean(0)) for a in x]))]
    while len(S) < 9:
        S.append(int(np.argmax([min(np.linalg.norm(a - x[j]) for j in S) for a in x])))
    chosen = choose(x, KCenter(), 9)
    assert chosen.indices.tolist() == S
    assert chosen.certificate is not None
    assert chosen.certificate.value == pytest.approx(radius(x, S), rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_k_center_is_a_2_approximation(k: int) -> None:
    """The best radius of any k examples lies between half the stated radius and the stated radius."""
    x = points(9, 2, seed=5)
    best = min(radius(x, S) for S in itertools.combinations(range(9), k))
    sealed = choose(x, KCenter(), k).certificate
    assert sealed is not None
    assert sealed.details["least_possible_radius"] <= best <= sealed.value
    assert sealed.details["least_possible_radius"] == sealed.value / 2


def test_k_center_does_not_move_with_the_origin() -> None:
    """Features in float32 around 1000 give the picks of the same features around 0: distances are differences."""
    x = np.round(points(60, seed=2) * 1024).astype(np.float32) / 1024
    want = choose(x, KCenter(), 20).indices.tolist()
    assert choose(x + np.float32(1000), KCenter(), 20).indices.tolist() == want

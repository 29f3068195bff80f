"""Log-determinant equals plain greedy."""

import math
from typing import Any

import numpy as np
import pytest
from kernels import choose, greedily, kernel, points

from coreselect.errors import RequirementError
from coreselect.selectors import LogDet


@pytest.mark.parametrize("kind", ["cosine", "rbf"])
def test_log_det_equals_plain_greedy(kind: Any) -> None:
    """Picks and gains are those of numpy's determinants."""
    x, jitter = points(20, 12, seed=6), 1e-3
    K = kernel(x, kind) + jitter * np.eye(20)
    picks, gains = greedily(20, 10, lambda S: float(np.linalg.slogdet(K[np.ix_(S, S)])[1]) if S else 0.0)
    chosen = choose(x, LogDet(kind, jitter=jitter), 10)
    assert chosen.indices.tolist() == picks
    assert np.allclose(chosen.gains, gains, rtol=1e-8)
    assert "1,600 bytes" in chosen.provenance.notes[0]


def test_log_det_says_when_the_rank_is_used_up() -> None:
    """(1 + cos)/2 of vectors in the plane has rank 3: the other picks lie in their span, up to the jitter."""
    chosen = choose(points(12, 2), LogDet("cosine"), 7)
    assert "4 picks lie in the span" in chosen.provenance.notes[1]
    assert (chosen.gains[3:] < math.log(1e-5)).all()
    assert np.isfinite(chosen.gains).all()


def test_log_det_refuses_more_memory_than_it_may_have() -> None:
    """If 8·N·k bytes are above the limit, an error comes before they are allocated."""
    with pytest.raises(RequirementError, match=r"400 bytes of Cholesky rows for 5 of 10 .* most_bytes is 399"):
        choose(points(10), LogDet(most_bytes=399), 5)

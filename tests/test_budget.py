"""Claims about budgets: a fraction is the decimal that was written."""

from fractions import Fraction
from typing import Any

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coreselect.budget import largest_remainder, resolve
from coreselect.errors import BudgetError


@given(st.integers(1, 9999), st.integers(1, 5_000_000))
def test_fractions_are_floored_on_the_decimal_that_was_written(thousandths: int, n: int) -> None:
    """⌊f·N⌋ is computed in integers from the shortest decimal of f, for any N."""
    text = f"0.{thousandths:04d}"
    want = oracles.budget_of(text, n)
    if want:
        assert resolve(float(text), n) == want
        assert resolve(Fraction(text), n) == want
        assert resolve(np.float64(text), n) == want
    else:
        with pytest.raises(BudgetError, match="less than one"):
            resolve(float(text), n)


@pytest.mark.parametrize(
    ("budget", "n", "k"),
    [
        (0.29, 100, 29),
        (0.07, 100, 7),
        (0.57, 100, 57),
        (1.0, 7, 7),
        (1, 7, 1),
        (7, 7, 7),
        (0.1, 10, 1),
        (Fraction(1, 3), 10, 3),
        (np.int64(3), 7, 3),
        (1e-05, 100000, 1),
    ],
)
def test_known_cases(budget: Any, n: int, k: int) -> None:
    """0.29 of 100 is 29, 1 is one example, 1.0 is all."""
    assert resolve(budget, n) == k


@pytest.mark.parametrize("text", ["0.29", "0.1", "0.57"])
def test_narrow_floats_mean_what_they_print(text: str) -> None:
    """np.float32(0.29) of 100 is 29 as well."""
    narrow: Any = np.float32(text)
    assert resolve(narrow, 100) == oracles.budget_of(text, 100)


@pytest.mark.parametrize(
    "budget",
    [
        0,
        -1,
        11,
        0.0,
        -0.1,
        1.1,
        float("nan"),
        float("inf"),
        True,
        False,
        np.True_,
        "0.1",
        None,
        [1],
        1j,
        np.complex128(1),
    ],
)
def test_other_budgets_are_refused(budget: Any) -> None:
    """Budgets out of range, booleans, words and NaN are refused, and the message shows the budget."""
    with pytest.raises(BudgetError):
        resolve(budget, 10)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=10).filter(sum), st.data())
def test_largest_remainder_shares_exactly(sizes: list[int], data: st.DataObject) -> None:
    """Shares sum to k, fit into their parts, are their quotas rounded down or up, and differ by at most one for equal parts."""
    n = sum(sizes)
    k = data.draw(st.integers(0, n))
    shares = largest_remainder(k, sizes)
    assert sum(shares) == k
    for share, size in zip(shares, sizes, strict=True):
        quota = Fraction(k * size, n)
        assert int(quota) <= share <= min(size, -int(-quota // 1))
    for a, b in zip(sizes, shares, strict=True):
        assert all(abs(b - d) <= 1 for c, d in zip(sizes, shares, strict=True) if a == c)


def test_ties_go_to_the_first_part() -> None:
    """One pick over three equal parts goes to the first."""
    assert largest_remainder(1, [5, 5, 5]) == [1, 0, 0]

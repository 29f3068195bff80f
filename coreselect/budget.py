"""Budgets: a count, or a fraction of the pool, met exactly."""

import operator
from fractions import Fraction

import numpy as np

from coreselect.errors import BudgetError

Budget = int | float | Fraction


def resolve(budget: Budget, n: int) -> int:
    """Return how many of `n` examples a budget means.

    An int b means b examples (1 ≤ b ≤ n; 1 is one example). A float or Fraction f in (0, 1] means ⌊f·n⌋, computed
    exactly on the decimal that was written: `Fraction(str(f))`, so 0.29 of 100 is 29 (1.0 is all).

    Raises:
        BudgetError: out of range, not a number, or a fraction so small that it means no example.
    """
    if isinstance(budget, bool | np.bool_) or not isinstance(budget, int | float | Fraction | np.integer | np.floating):
        raise BudgetError(f"budget must be a count or a fraction in (0, 1], got {budget!r}.")
    if isinstance(budget, int | np.integer):
        k = operator.index(budget)
        if not 1 <= k <= n:
            raise BudgetError(f"budget {k} is outside 1…{n} (the pool); an int counts examples, a float is a fraction.")
        return k
    if not 0 < budget <= 1:
        raise BudgetError(f"budget {budget!r} is not a fraction in (0, 1]; to ask for a count, give an int.")
    exact = budget if isinstance(budget, Fraction) else Fraction(str(budget))
    k = int(exact * n)
    if k < 1:
        raise BudgetError(f"budget {budget!r} of {n} examples is less than one; give at least {1 / n:.3g}.")
    return k


def largest_remainder(k: int, sizes: list[int]) -> list[int]:
    """Share `k` picks over parts in proportion to their sizes, exactly (Hamilton's method, ties to the first part).

    Each share is at most its part's size, and the shares sum to k.
    """
    n = sum(sizes)
    whole = [k * s // n for s in sizes]
    rest = [k * s % n for s in sizes]
    order = sorted(range(len(sizes)), key=lambda i: (-rest[i], i))
    for i in order[: k - sum(whole)]:
        whole[i] += 1
    return whole

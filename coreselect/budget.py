"""Budgets: a count or a fraction of the pool, converted to an exact number of examples."""

import operator
from fractions import Fraction

import numpy as np

from coreselect.errors import BudgetError

Budget = int | float | Fraction


def resolve(budget: Budget, n: int) -> int:
    """Return the number k of examples that a budget means.

    An int b means b examples; 1 is one example. A float or Fraction f in (0, 1] means ⌊f·n⌋; 1.0 is all examples.
    ⌊f·n⌋ is computed exactly from the written decimal, `Fraction(str(f))`, so 0.29 of 100 is 29.

    Args:
        budget: an int in 1…n, or a float or Fraction in (0, 1].
        n: the number of examples.
    Raises:
        BudgetError: the budget is out of range, not a number, or a fraction that means no example.
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
    """Divide `k` picks between parts in proportion to their sizes, by Hamilton's method; ties go to the first part.

    Args:
        k: in 0…Σ sizes.
        sizes: the size of each part.
    Returns:
        One share for each part, at most the size of the part; the shares sum to k.
    """
    n = sum(sizes)
    whole = [k * s // n for s in sizes]
    rest = [k * s % n for s in sizes]
    order = sorted(range(len(sizes)), key=lambda i: (-rest[i], i))
    for i in order[: k - sum(whole)]:
        whole[i] += 1
    return whole

"""Budgets: a count or a fraction of the pool, converted to an exact number of examples."""

import operator
from collections.abc import Sequence
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


def count_or_share(number: float) -> int | float:
    """Read a number of an option as a budget: a count from 1 on, which is whole, or a share below 1."""
    return int(number) if number >= 1 else number


def largest_remainder(k: int, sizes: Sequence[int | Fraction]) -> list[int]:
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


def fill(k: int, sizes: Sequence[int], shares: Sequence[float] | None = None) -> list[int]:
    """Divide `k` picks between parts by given shares: the levels of `levels`, rounded by largest remainder, ties to the first part.

    Returns:
        One count for each part, at most its size; they sum to k.
    """
    return largest_remainder(k, levels(k, sizes, shares)) if k else [0] * len(sizes)


def levels(k: int, sizes: Sequence[int], shares: Sequence[float] | None = None) -> list[Fraction]:
    """Divide `k` exactly between parts by given shares; what a part is too small to give is given by the others.

    Part s gets min(n_s, r·share_s), the same r for all parts: the level of water in vessels of the parts' sizes and widths.

    Args:
        k: in 0…Σ sizes.
        sizes: n_s ≥ 0, the size of each part.
        shares: ≥ 0, relative to each other; None: equal shares.
    Returns:
        One number for each part, at most its size; they sum to k.
    Raises:
        BudgetError: the shares are not one finite number ≥ 0 for each part, or the parts with a share hold fewer than k.
    """
    given = [1.0] * len(sizes) if shares is None else list(shares)
    if len(given) != len(sizes) or not all(0 <= s < float("inf") for s in given):
        raise BudgetError(f"{len(sizes)} parts need as many shares, each finite and at least 0, got {given}.")
    width = [Fraction(str(s)) for s in given]
    room = sum(n for n, w in zip(sizes, width, strict=True) if w)
    if k > room:
        raise BudgetError(
            f"the parts with a share hold {room} examples, and the budget is {k}: give other parts a share."
        )
    out = [Fraction(0)] * len(sizes)
    free = [i for i, w in enumerate(width) if w]
    while free:
        total = sum(width[i] for i in free)
        full = [i for i in free if sizes[i] * total <= k * width[i]]
        if not full:
            for i in free:
                out[i] = k * width[i] / total
            break
        for i in full:
            out[i] = Fraction(sizes[i])
        k -= sum(sizes[i] for i in full)
        free = [i for i in free if i not in set(full)]
    return out

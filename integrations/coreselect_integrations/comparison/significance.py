"""What paired differences can show: the smallest difference that n seeds can tell, and p corrected for many comparisons.

A paired t-test of n differences with true mean δ and deviation σ finds p < α with probability

    power(λ) = P(t² > F_α),   t² noncentral F with 1 and n − 1 degrees of freedom and noncentrality λ²,   λ = √n·δ/σ

The smallest visible difference is δ = λ·σ/√n for the λ of the wanted power.
Holm's correction of m p-values, sorted: p̃₍ₖ₎ = max over j ≤ k of min(1, (m − j + 1)·p₍ⱼ₎).

Sources: Cohen, "Statistical power analysis for the behavioral sciences", 2nd ed. 1988; Holm, "A simple sequentially rejective
multiple test procedure", Scandinavian Journal of Statistics 1979.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

POWER, LEVEL = 0.8, 0.05


def smallest_difference(deviation: float, n: int, power: float = POWER, level: float = LEVEL) -> float:
    """Return the true difference δ that a two-sided paired t-test of n seeds finds with the given power.

    Args:
        deviation: σ ≥ 0, of the differences over seeds, estimated from them.
        n: ≥ 2, the number of seeds.
        power, level: in (0, 1), power well above level.
    Returns:
        δ ≥ 0, in the unit of `deviation`.
    """
    return _noncentrality(n, power, level) * deviation / math.sqrt(n)


@cache
def _noncentrality(n: int, power: float, level: float) -> float:
    """Return the λ at which the test has the power."""
    from scipy.optimize import brentq  # slow to import
    from scipy.stats import f, ncf

    edge = float(f.isf(level, 1, n - 1))  # F_α

    def lacking(shift: float) -> float:
        return float(ncf.sf(edge, 1, n - 1, shift**2)) - power

    return float(brentq(lacking, 0.01, 4 * math.sqrt(edge) + 10, xtol=1e-10))  # type: ignore[arg-type]  # a float without full_output


def holm(values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in the order given: rejecting those ≤ α errs at all with probability ≤ α."""
    ordered = sorted(range(len(values)), key=values.__getitem__)
    corrected, largest = [0.0] * len(values), 0.0
    for rank, at in enumerate(ordered):
        largest = max(largest, min(1.0, (len(values) - rank) * values[at]))
        corrected[at] = largest
    return corrected

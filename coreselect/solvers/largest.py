"""Pick the candidate of largest value again and again, where each pick changes the values of the others."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def pick_largest(
    values: Callable[[], Tensor],
    add: Callable[[int], object],
    k: int,
    *,
    scale: float | None = None,
    slack: float | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> tuple[list[int], list[float]]:
    """Pick k candidates, each the one of largest value given the picks before it; ties go to the lowest index.

    Args:
        values: returns the value of every candidate given the picks so far, float64 [N].
        add: takes a new pick, so that `values` counts it from then on.
        k: 1…N.
        scale, slack: which values are ties, as for `first_largest`.
        tick: called with (picks, k) after each pick.
    Returns:
        The picks in order, and each pick's value at that moment.
    """
    picks: list[int] = []
    at_pick: list[float] = []
    taken: Tensor | None = None  # bool [N]
    while len(picks) < k:
        now = values()
        taken = torch.zeros(len(now), dtype=torch.bool, device=now.device) if taken is None else taken
        x = first_largest(now, taken, scale=scale, slack=slack)
        at_pick.append(float(now[x]))
        taken[x] = True
        picks.append(x)
        add(x)
        if tick is not None:
            tick(len(picks), k)
    return picks, at_pick


def first_largest(values: Tensor, taken: Tensor, *, scale: float | None = None, slack: float | None = None) -> int:
    """Return the lowest index of the largest value that is not taken.

    Values are ties if they differ by at most `slack`, which is about float64's rounding.

    Args:
        values: float64 [N].
        taken: bool [N].
        scale: size of the numbers whose sums the values are; None: the size of the largest value.
        slack: None: 10⁻¹² times the scale.
    """
    own = values.masked_fill(taken, -math.inf)
    top = float(own.max())
    if slack is None:
        slack = 1e-12 * (abs(top) if scale is None else scale)
    return int((own >= top - slack).byte().argmax())


def at_least(values: Tensor, least: float) -> Tensor:
    """Return where values [N] are at least so large, int64, ascending."""
    if values.device.type != "cpu":
        return (values >= least).nonzero()[:, 0]
    return torch.from_numpy(np.flatnonzero(values.numpy() >= least))  # in a fifth of the time

"""Greedy picks where values never rise from pick to pick: few passes over all candidates, the same picks as a pass per pick.

    v_i(S ∪ {x}) ≤ v_i(S);    upper_i ≥ v_i(S) at the last pass over all, so upper_i ≥ v_i ever after

The candidates with the largest upper bounds are held with their exact values, and each pick renews these alone. A pick is
right as long as the best of them is above every bound that is not held. Then one pass over all counts all picks since the
last one: a product of matrices, instead of a product with one vector for each pick.

The lazy principle: Minoux, "Accelerated greedy algorithms for maximizing submodular set functions", 1978.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from coreselect.solvers.largest import at_least

TIE = 1e-12  # values that differ by less than this share of the numbers that they are summed from are ties
FEWEST = 256  # candidates that are held at first; more if there are more than 256² of all
MOST_PICKS = 4096  # from one pass to the next, so that a pass needs little memory


class Falling(Protocol):
    """Values of n candidates given the picks so far."""

    n: int

    def add(self, x: int) -> None:
        """Count a new pick from now on."""
        ...

    def upper(self) -> Tensor:
        """Return a bound for each value, float64 [n], after one pass over all that counts every pick."""
        ...

    def exact(self, ids: Tensor) -> Tensor:
        """Return the values of some candidates, float64 [c]."""
        ...

    def watch(self, ids: Tensor) -> None:
        """Take the candidates that `lowered` will be asked about from now on."""
        ...

    def lowered(self, values: Tensor, x: int) -> Tensor:
        """Return the values of the watched candidates after pick x, given those before it, float64 [c]."""
        ...


@dataclass(frozen=True, eq=False)
class Held:
    """The candidates whose exact values are held.

    Attributes:
        ids: int64 [c], ascending.
        outside: no other candidate has a value above it.
    """

    ids: Tensor
    outside: float


def pick_falling(
    values: Falling,
    k: int,
    *,
    scale: float | None = None,
    least: float = -math.inf,
    taken: Sequence[int] = (),
    tick: Callable[[int, int], None] | None = None,
) -> tuple[list[int], list[float]]:
    """Pick candidates until there are k, each the one of largest value given the picks before it.

    Values are ties if they differ by at most 10⁻¹² times `scale`, and ties go to the lowest index, as in
    `coreselect.solvers.largest`.

    Args:
        values: counts the picks `taken` already.
        k: picks in all, those in `taken` included.
        scale: size of the numbers whose sums the values are; None: the size of the largest value.
        least: no value is below it, so if the largest has it, all that are left are ties.
        taken: candidates that are picked already.
        tick: called with (picks, k) after each pick.
    Returns:
        All picks in order, and the value of each new pick at that moment.
    """
    picks, at_pick = list(taken), []
    held, now = Held(torch.empty(0, dtype=torch.int64), math.inf), torch.empty(0, dtype=torch.float64)  # now: [c]
    width, since, top = max(FEWEST, math.isqrt(values.n)), 0, -math.inf
    most = 4 * width  # candidates that are held, unless more tie with the best
    while len(picks) < k:
        slack = TIE * (abs(top) if scale is None else scale)
        if since == MOST_PICKS or held.outside > top - slack or not len(held.ids):
            if len(picks) > len(taken):  # let a pass cost about as much as the picks since the last one
                work = 2 * since * width
                width = (
                    min(2 * width, most) if work < values.n else max(width // 2, 1) if work > 8 * values.n else width
                )
            held, now = hold(values, picks, width, scale, held, now)
            values.watch(held.ids)
            top, since = float(now.max()), 0
            if top <= least:
                free = torch.ones(values.n, dtype=torch.bool)
                free[picks] = False
                left = free.nonzero()[: k - len(picks), 0].tolist()
                return picks + left, at_pick + [top] * len(left)
            continue
        at = int((now >= top - slack).byte().argmax())  # ids ascend, so this is the lowest index
        x = int(held.ids[at])
        picks.append(x)
        at_pick.append(float(now[at]))
        values.add(x)
        now[at] = -math.inf  # and stays so
        now = values.lowered(now, x)
        top, since = float(now.max()), since + 1
        if tick is not None:
            tick(len(picks), k)
    return picks, at_pick


def hold(
    values: Falling, picks: list[int], width: int, scale: float | None, before: Held, known: Tensor
) -> tuple[Held, Tensor]:
    """Choose the candidates to hold: the `width` largest bounds, and all that could tie with the best of them.

    Args:
        before, known: the candidates that were held, and their values [c], which stay right.
    Returns:
        The candidates, and their values [c].
    """
    taken = torch.tensor(picks, dtype=torch.int64)
    upper = values.upper()  # [n]
    upper = upper.index_fill(0, taken.to(upper.device), -math.inf)
    ids = upper.topk(min(width, values.n - len(picks))).indices.sort().values  # [c]
    now = _values(values, ids, before, known)
    top = float(now.max())
    floor = top - TIE * (abs(top) if scale is None else scale)
    outside = upper.index_fill(0, ids, -math.inf)
    if float(outside.max()) >= floor:
        more = at_least(outside, floor)
        both, order = torch.cat([ids, more]).sort()
        now = torch.cat([now, _values(values, more, before, known)])[order]
        ids, outside = both, outside.index_fill_(0, more, -math.inf)
    return Held(ids, float(outside.max())), now


def _values(values: Falling, ids: Tensor, before: Held, known: Tensor) -> Tensor:
    """Return the values of candidates; those that were held before are known."""
    now = torch.empty(len(ids), dtype=torch.float64, device=ids.device)
    old = torch.isin(ids, before.ids.to(ids.device))
    now[old] = known.to(ids.device)[torch.searchsorted(before.ids.to(ids.device), ids[old])]
    now[~old] = values.exact(ids[~old])
    return now

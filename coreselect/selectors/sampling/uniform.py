"""Uniform random subsets, the baselines that every method is compared with.

random   k of N without replacement, drawn once for the whole run
redraw   k of N without replacement, drawn again at every selection
rs2      k of N, drawn again every epoch, without repetition until the pool is used up: "repeated sampling of random
         subsets", Okanovic et al., ICLR 2024. Draws walk through a permutation of the pool. A draw that reaches its end
         continues in the next permutation, without the examples that it already has; those come first in the next draw.
"""

from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.protocols import TaskLike
from coreselect.support.seeding import generator as seeded
from coreselect.support.turns import Schedule, Steady
from coreselect.types import Int64, Selection


class _FirstOfPermutation:
    """Choose the first k of a random permutation, of one permutation a run or of a new one every round."""

    name: ClassVar[str]
    requires = frozenset[str]()
    renew: ClassVar[str]

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        number = round if self.renew == "round" else 0
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            order = permutation(snapshot.n, snapshot.draw_seed, self.name, number)
            return snapshot.selection(self, order[: resolve(budget, snapshot.n)], nested=True)


@dataclass(frozen=True)
class Random(_FirstOfPermutation):
    """Choose uniformly without replacement, once: every round gives the same subset."""

    name = "random"
    renew = "never"


@dataclass(frozen=True)
class Redraw(_FirstOfPermutation):
    """Choose uniformly without replacement, again at every selection."""

    name = "redraw"
    renew = "round"


@dataclass(frozen=True)
class RS2:
    """Choose uniformly, again every epoch, without repetition until the pool is used up.

    That holds for the pool that it sees, at a steady budget: alone, or in one `PerClass`. Inside `Windowed`, `Mixture` or two
    `PerClass` it sees another pool or another budget from round to round, so an example may come again before the others have come.
    """

    name = "rs2"
    requires = frozenset[str]()
    renew = "epoch"

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k = resolve(budget, snapshot.n)
            picks = walk(snapshot.n, snapshot.schedule or Steady(k), snapshot.draw_seed, round)
            return snapshot.selection(self, picks, nested=True)


def permutation(n: int, seed: int, purpose: str, number: int) -> Int64:
    """Return the permutation of 0…n−1 for (seed, purpose, number)."""
    return torch.randperm(n, generator=seeded(seed, purpose, number)).numpy()


def walk(n: int, picks: Schedule, seed: int, round: int) -> Int64:
    """Return draw number `round` from the walk through permutations, int64 [k], k the picks of that round.

    Every permutation gives n examples to the draws, so a draw after K picks begins at the (K mod n)-th example of permutation
    ⌊K/n⌋. The permutation that is being walked is kept: an epoch copies k numbers, and a permutation is made once.
    """
    start = picks.before(round)
    k = picks.before(round + 1) - start
    cycle, at = divmod(start, n)
    if at + k <= n and (at or not cycle):
        known = _cycle(n, picks, seed, cycle)
        at -= n - len(known.line)  # the draw that began in the permutation before has taken these
        return known.line[at : at + k].copy()
    return _cycle(n, picks, seed, cycle + (at > 0)).first.copy()


@dataclass(frozen=True)
class _Cycle:
    """A permutation of the walk: the draw [k] that reaches into it from the one before, and what is left of it, in order."""

    number: int
    first: Int64
    line: Int64


_walked: OrderedDict[tuple[int, Schedule, int], _Cycle] = OrderedDict()  # last permutation of each walk, oldest first
KEPT = 64 << 20  # bytes of permutations that are kept


def _first_draw(n: int, picks: Schedule, cycle: int) -> tuple[int, int]:
    """Return the picks of the draw that reaches into this permutation, and how many of them the one before has left for it."""
    boundary = cycle * n
    most = 1  # more rounds than come before the boundary
    while picks.before(most) <= boundary:
        most *= 2
    draw = bisect_right(range(most + 1), boundary, key=picks.before) - 1
    start = picks.before(draw)
    return picks.before(draw + 1) - start, boundary - start


def _cycle(n: int, picks: Schedule, seed: int, number: int) -> _Cycle:
    """Return a permutation of the walk, from the one that is kept or from the nearest that depends on no earlier draw.

    The draw of k that reaches into a permutation takes all of it from among the first k. So a tail of up to n − k examples is
    the end of its permutation, whatever was drawn from that before; a longer one depends on the permutation before as well.
    """
    known = _walked.pop((n, picks, seed), None)
    if known is not None and known.number > number:
        known = None  # one walks forward only
    start = number
    while start > 0 and (known is None or start > known.number):
        if _first_draw(n, picks, start)[1] <= n - _first_draw(n, picks, start - 1)[0]:
            break
        start -= 1
    if known is None or known.number < start - 1:
        known = _filled(n, picks, seed, start, permutation(n, seed, "rs2", start - 1) if start else None)
    while known.number < number:
        known = _filled(n, picks, seed, known.number + 1, known.line)
    _walked[n, picks, seed] = known
    while len(_walked) > 1 and 8 * sum(len(c.first) + len(c.line) for c in _walked.values()) > KEPT:
        _walked.popitem(last=False)
    return known


def _filled(n: int, picks: Schedule, seed: int, number: int, before: Int64 | None) -> _Cycle:
    """Fill a draw up from a fresh permutation without the members that it has from the line before; None: there is no line."""
    fresh = permutation(n, seed, "rs2", number)
    if before is None:
        return _Cycle(number, fresh[:0], fresh)
    k, left_over = _first_draw(n, picks, number)
    tail = before[len(before) - left_over :]
    new = np.ones(n, dtype=bool)
    new[tail] = False
    taken = np.flatnonzero(new[fresh])[: k - len(tail)]
    left = np.ones(n, dtype=bool)
    left[taken] = False
    return _Cycle(number, np.concatenate([tail, fresh[taken]]), fresh[left])

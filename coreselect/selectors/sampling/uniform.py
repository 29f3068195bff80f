"""Uniform random subsets, the baselines that every method is compared with.

random   k of N without replacement, drawn once for the whole run
redraw   k of N without replacement, drawn again at every selection
rs2      k of N, drawn again every epoch, without repetition until the pool is used up: "repeated sampling of random
         subsets", Okanovic et al., ICLR 2024. Draws walk through a permutation of the pool. A draw that reaches its end
         continues in the next permutation, without the examples that it already has; those come first in the next draw.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.protocols import TaskLike
from coreselect.support.seeding import generator as seeded
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
    """Choose uniformly, again every epoch, without repetition until the pool is used up."""

    name = "rs2"
    requires = frozenset[str]()
    renew = "epoch"

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k = resolve(budget, snapshot.n)
            return snapshot.selection(self, walk(snapshot.n, k, snapshot.draw_seed, round), nested=True)


def permutation(n: int, seed: int, purpose: str, number: int) -> Int64:
    """Return the permutation of 0…n−1 for (seed, purpose, number)."""
    return torch.randperm(n, generator=seeded(seed, purpose, number)).numpy()


def walk(n: int, k: int, seed: int, round: int) -> Int64:
    """Return draw number `round` of k from the walk through permutations, int64 [k].

    Every permutation gives n examples to the draws, so draw r begins at the (r·k mod n)-th example of permutation ⌊r·k/n⌋. The
    permutation that is being walked is kept: an epoch copies k numbers, and a permutation is made once.
    """
    cycle, at = divmod(round * k, n)
    if at + k <= n and (at or not cycle):
        taken = 0 if cycle == 0 else k - _tail_length(n, k, cycle)  # by the draw that began in the permutation before
        return _cycle(n, k, seed, cycle).line[at - taken : at - taken + k].copy()
    return _cycle(n, k, seed, cycle + (at > 0)).first.copy()


@dataclass(frozen=True)
class _Cycle:
    """A permutation of the walk: the draw [k] that reaches into it from the one before, and what is left of it, in order."""

    number: int
    first: Int64
    line: Int64


_walked: OrderedDict[tuple[int, int, int], _Cycle] = OrderedDict()  # the last permutation of each walk, oldest first
KEPT = 64 << 20  # bytes of permutations that are kept


def _tail_length(n: int, k: int, cycle: int) -> int:
    """Return how many examples of the permutation before are left for the draw that reaches into this one."""
    return cycle * n % k


def _cycle(n: int, k: int, seed: int, number: int) -> _Cycle:
    """Return a permutation of the walk, from the one that is kept or from the nearest that depends on no earlier draw.

    A tail of up to n − k examples is the end of its permutation, whatever was drawn from that before. A longer one, which
    only k > n/2 can have, depends on the permutation before as well.
    """
    known = _walked.pop((n, k, seed), None)
    start = number
    while start > 0 and (known is None or start > known.number) and _tail_length(n, k, start) > n - k:
        start -= 1
    if known is None or not start - 1 <= known.number <= number:
        known = _filled(n, k, seed, start, permutation(n, seed, "rs2", start - 1) if start else None)
    while known.number < number:
        known = _filled(n, k, seed, known.number + 1, known.line)
    _walked[n, k, seed] = known
    while len(_walked) > 1 and 8 * sum(key[0] + key[1] for key in _walked) > KEPT:
        _walked.popitem(last=False)
    return known


def _filled(n: int, k: int, seed: int, number: int, before: Int64 | None) -> _Cycle:
    """Fill a draw up from a fresh permutation without the members that it has from the line before; None: there is no line."""
    fresh = permutation(n, seed, "rs2", number)
    if before is None:
        return _Cycle(number, fresh[:0], fresh)
    tail = before[len(before) - _tail_length(n, k, number) :]
    new = np.ones(n, dtype=bool)
    new[tail] = False
    taken = np.flatnonzero(new[fresh])[: k - len(tail)]
    left = np.ones(n, dtype=bool)
    left[taken] = False
    return _Cycle(number, np.concatenate([tail, fresh[taken]]), fresh[left])

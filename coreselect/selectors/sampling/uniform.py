"""Uniform random subsets, the baselines that every method is compared with.

random   k of N without replacement, drawn once for the whole run
redraw   k of N without replacement, drawn again at every selection
rs2      k of N, drawn again every epoch, without repetition until the pool is used up: "repeated sampling of random
         subsets", Okanovic et al., ICLR 2024. Draws walk through a permutation of the pool. A draw that reaches its end
         continues in the next permutation, without the examples that it already has; those come first in the next draw.
"""

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
    """Return draw number `round` of k from the walk through permutations, int64 [k]."""
    line = permutation(n, seed, "rs2", 0)  # what is left of the current permutation, in order
    cycle = 0
    for _ in range(round):
        if len(line) >= k:
            line = line[k:]
        else:
            cycle += 1
            _, line = _fill_up(line, permutation(n, seed, "rs2", cycle), k)
    return line[:k] if len(line) >= k else _fill_up(line, permutation(n, seed, "rs2", cycle + 1), k)[0]


def _fill_up(tail: Int64, fresh: Int64, k: int) -> tuple[Int64, Int64]:
    """Fill a tail up to k from a fresh permutation without its members; return the draw [k] and what is left."""
    new = ~np.isin(fresh, tail)
    taken = np.flatnonzero(new)[: k - len(tail)]
    left = np.ones(len(fresh), dtype=bool)
    left[taken] = False
    return np.concatenate([tail, fresh[taken]]), fresh[left]

"""Uniform draws, the lines every method is held against.

random   k of N without replacement, one draw for the whole run
redraw   the same, drawn anew at every selection
rs2      k of N anew every epoch, without repetition until the pool is used up: "repeated sampling of random subsets",
         Okanovic et al., ICLR 2024. Draws walk a permutation of the pool; a draw that runs past its end continues in
         the next permutation, skipping what it already holds, and what it skipped is next in line.
"""

from dataclasses import dataclass

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.protocols import TaskLike
from coreselect.support.seeding import generator as seeded
from coreselect.types import Int64, Selection


@dataclass(frozen=True)
class Random:
    """Choose uniformly without replacement, once: every round gives the same subset."""

    name = "random"
    requires = frozenset[str]()
    renew = "never"

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            return shot.selection(
                self, permutation(shot.n, shot.draws, "random", 0)[: resolve(budget, shot.n)], nested=True
            )


@dataclass(frozen=True)
class Redraw:
    """Choose uniformly without replacement, anew at every selection."""

    name = "redraw"
    requires = frozenset[str]()
    renew = "round"

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            return shot.selection(
                self, permutation(shot.n, shot.draws, "redraw", round)[: resolve(budget, shot.n)], nested=True
            )


@dataclass(frozen=True)
class RS2:
    """Choose uniformly anew every epoch, without repetition until the pool is used up."""

    name = "rs2"
    requires = frozenset[str]()
    renew = "epoch"

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            return shot.selection(self, draw(shot.n, resolve(budget, shot.n), shot.draws, round), nested=True)


def permutation(n: int, seed: int, purpose: str, number: int) -> Int64:
    """Return the permutation of 0…n−1 for (seed, purpose, number)."""
    return torch.randperm(n, generator=seeded(seed, purpose, number)).numpy()


def draw(n: int, k: int, seed: int, round: int) -> Int64:
    """Return the round-th draw of k from the walk over permutations, int64 [k]."""
    line = permutation(n, seed, "rs2", 0)  # what is left of the present permutation, in order
    cycle = 0
    for _ in range(round):
        if len(line) >= k:
            line = line[k:]
        else:
            cycle += 1
            _, line = _across(line, permutation(n, seed, "rs2", cycle), k)
    return line[:k] if len(line) >= k else _across(line, permutation(n, seed, "rs2", cycle + 1), k)[0]


def _across(tail: Int64, fresh: Int64, k: int) -> tuple[Int64, Int64]:
    """Take the tail and fill up from a fresh permutation, skipping the tail's members: (draw [k], what is left of it)."""
    new = ~np.isin(fresh, tail)
    taken = np.flatnonzero(new)[: k - len(tail)]
    left = np.ones(len(fresh), dtype=bool)
    left[taken] = False
    return np.concatenate([tail, fresh[taken]]), fresh[left]

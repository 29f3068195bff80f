"""Samplers over arrays with a selector that records its calls."""

from typing import Any

import cases
import torch

from coreselect import CoresetSampler


class Counting:
    """A selector that records its calls."""

    name = "counting"
    requires: frozenset[str] = frozenset()

    def __init__(self, renew: Any) -> None:
        self.renew = renew
        self.calls: list[int] = []

    def select(self, task: Any, budget: Any, *, generator: torch.Generator, round: int = 0) -> Any:
        """Draw uniformly for (seed, round)."""
        self.calls.append(round)
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            own = torch.Generator().manual_seed(1000 * generator.initial_seed() + round)
            return snapshot.selection(self, torch.randperm(snapshot.n, generator=own)[:budget].numpy())


def sampler(renew: Any = "round", n: int = 20, budget: Any = 6, **settings: Any) -> tuple[CoresetSampler, Counting]:
    """A sampler over arrays with a counting selector."""
    selector = Counting(renew)
    return CoresetSampler(cases.array_task(n), selector, budget, **settings), selector

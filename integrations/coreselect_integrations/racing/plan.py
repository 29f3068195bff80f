"""The arithmetic of a race: successive halving over complete runs.

    n_0 = n arms,  n_{r+1} = ⌈n_r / h⌉             rung r trains n_r arms whole; the best n_{r+1} go on, until one is left
    T_r = (s·H − t_r) / (R − r)                    its seconds: an equal part of what is left of the race's share s of the hours H
    T_r / ⌈n_r / P⌉                                seconds of each of its runs, where P processes share the race
    (1 − m)·H − t                                  seconds of the winner's last training, at time t; m is a margin

Where that is shorter than the winner's run of the last rung, the network of that run is kept.

t_r is the time spent before rung r, probes included. So what a rung spends too much or too little is taken from, or given to,
the rungs after it and the last training. In Jamieson and Talwalkar the arms of a rung go on with one training each. Here every
rung begins anew, because a run has a learning-rate curve of its own length.

Source: Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T", bound=Hashable)
MARGIN = 0.02  # m: for the judging of the last network and the report


@dataclass(frozen=True, slots=True)
class Budget:
    """What a race may spend.

    Args:
        seconds: H, > 0, in all.
        share: s in (0, 1), that of the rungs.
        halving: h ≥ 2.
        processes: P ≥ 1.
    """

    seconds: float
    share: float = 0.5
    halving: int = 2
    processes: int = 1

    def waves(self, arms: int) -> int:
        """Return how many runs follow each other in a rung of so many arms."""
        return -(-arms // self.processes)

    def of_rung(self, rung: int, sizes: Sequence[int], spent: float) -> float:
        """Return the seconds of each run of a rung, of which `sizes` has the numbers of arms, at the time `spent`."""
        left = max(0.0, self.share * self.seconds - spent) / (len(sizes) - rung)
        return left / self.waves(sizes[rung])

    def of_last(self, spent: float) -> float:
        """Return the seconds of the winner's last training and of judging it, at the time `spent`."""
        return max(0.0, (1 - MARGIN) * self.seconds - spent)

    def expected(self, sizes: Sequence[int], spent: float) -> tuple[list[float], float]:
        """Return the seconds of each run, rung by rung, and of the last training, if everything takes as long as planned."""
        each = []
        for rung, arms in enumerate(sizes):
            each.append(self.of_rung(rung, sizes, spent))
            spent += each[-1] * self.waves(arms)
        return each, self.of_last(spent)

    def needed(self, each: float, sizes: Sequence[int], spent: float) -> float:
        """Return the seconds H with which every run of rung 0, and the last training, has `each`; ∞ if the rungs take all."""
        if not sizes:
            return (each + spent) / (1 - MARGIN)
        racing = (each * self.waves(sizes[0]) * len(sizes) + spent) / self.share
        left = 1 - MARGIN - self.share  # of the hours, for the last training
        return max(racing, each / left) if left > 0 else math.inf


def sizes_of(arms: int, halving: int = 2) -> list[int]:
    """Return the number of arms of each rung; a single arm needs no rung."""
    sizes = []
    while arms > 1:
        sizes.append(arms)
        arms = -(-arms // halving)
    return sizes


def survivors(scores: Mapping[T, float | None], halving: int = 2) -> list[T]:
    """Return the best ⌈n / h⌉ arms, best first; equal ones keep their order, and those without a score never go on."""
    kept = [arm for arm, score in scores.items() if score is not None]
    kept.sort(key=lambda arm: -(scores[arm] or 0.0))
    return kept[: -(-len(scores) // halving)]


@dataclass(frozen=True, slots=True)
class Length:
    """How long a run is: epochs in all, of which `warmup` on the whole pool, and epochs between selections."""

    epochs: int
    warmup: int
    every: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What decides the seconds of a run.

    Args:
        pool: images in an epoch on the whole pool.
        chosen: images in an epoch on a part of it; None for an arm that trains on the whole pool only.
        image: seconds of one image in training, > 0.
        selection: seconds of one selection.
        rounds: selections in a run, ≥ 1; None selects anew in every epoch.
        warm: the share of the time that the warm-up on the whole pool gets, of at least one epoch; 0 is no warm-up.
        judging: seconds of judging the network.
        factor: measured seconds of training and selecting / those that this record gives.
        once: seconds before the first selection, which the factor does not change.
    """

    pool: int
    chosen: int | None
    image: float
    selection: float = 0.0
    rounds: int | None = None
    warm: float = 0.0
    judging: float = 0.0
    factor: float = 1.0
    once: float = 0.0

    def seconds(self, length: Length) -> float:
        """Return the seconds of a run of this length, judging included."""
        chosen = length.epochs - length.warmup
        if self.chosen is None:
            return self.judging + self.factor * length.epochs * self.pool * self.image
        selections = chosen if self.rounds is None else -(-chosen // length.every)
        images = length.warmup * self.pool + chosen * self.chosen
        return self.judging + self.once + self.factor * (images * self.image + selections * self.selection)

    @property
    def shortest(self) -> Length:
        """The shortest possible run: one epoch, after one of warm-up if there is any."""
        warmup = 1 if self.chosen is not None and self.warm else 0
        return Length(warmup + 1, warmup, 1)

    def longest(self, seconds: float) -> Length | None:
        """Return the longest run that ends within the seconds; None if not even the shortest does."""
        if seconds < self.seconds(self.shortest):
            return None
        left = (seconds - self.judging - self.once) / self.factor
        whole = self.pool * self.image  # seconds of an epoch on the whole pool
        if self.chosen is None:
            return _grown(self, Length(max(1, int(left / whole)), 0, 1), seconds)
        warmup = max(1, int(self.warm * left / whole)) if self.warm else 0
        left -= warmup * whole
        if self.rounds is None:
            epochs = max(1, int(left / (self.chosen * self.image + self.selection)))
            return _grown(self, Length(warmup + epochs, warmup, 1), seconds)
        for rounds in range(self.rounds, 0, -1):
            epochs = int((left - rounds * self.selection) / (self.chosen * self.image))
            if epochs >= rounds:
                return _grown(self, Length(warmup + epochs, warmup, -(-epochs // rounds)), seconds)
        return self.shortest


def _grown(cost: Cost, length: Length, seconds: float) -> Length:
    """Mend the rounding of the divisions: one epoch less if the run is too long, one more if it fits."""
    less, more = (replace(length, epochs=length.epochs + n) for n in (-1, 1))
    if cost.seconds(length) > seconds and less.epochs > less.warmup:
        return less
    return more if cost.seconds(more) <= seconds else length


def rounded_up(seconds: float) -> float:
    """Return hours with two digits that are at least so many seconds, for a message."""
    hours = seconds / 3600
    digits = 1 - math.floor(math.log10(hours))
    return math.ceil(round(hours * 10**digits, 9)) / 10**digits

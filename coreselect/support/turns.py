"""Divide k picks between parts in every round, so that over the rounds each part gets its exact share.

    k_s(r) = ⌊q_s⌋ + 1 if s is among the m parts of the highest credit, else ⌊q_s⌋;    m = k − Σ_s ⌊q_s⌋
    credit_s(r) = (r + 1)·(q_s − ⌊q_s⌋) − the extra picks that s had in rounds 0…r − 1

q_s is the exact share of a round, Σ_s q_s = k. Parts without a remainder get no extra pick, and ties go to the first part, so
round 0 is Hamilton's method (`coreselect.budget.largest_remainder`). The counts of a round depend on its number alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import lcm
from typing import Protocol


class Schedule(Protocol):
    """How many picks a part of the pool gets in each round; equal schedules are equal keys."""

    def before(self, round: int) -> int:
        """Return the picks in rounds 0…round − 1 together."""
        ...


@dataclass(frozen=True, slots=True)
class Steady:
    """The same number k of picks in every round."""

    k: int

    def before(self, round: int) -> int:
        return round * self.k


class Turns:
    """The counts of all parts in all rounds.

    Args:
        quotas: q_s ≥ 0, with a whole sum.

    Attributes:
        quotas: as given.
        whole: ⌊q_s⌋.
    """

    def __init__(self, quotas: Sequence[Fraction]) -> None:
        self.quotas, self.whole = quotas, [int(q) for q in quotas]
        scale = lcm(*(q.denominator for q in quotas))  # credits are whole numbers of this unit
        self._rest = {s: int(q % 1 * scale) for s, q in enumerate(quotas) if q % 1}
        self._extra, self._scale = sum(self._rest.values()) // scale, scale  # m
        self._credit = dict.fromkeys(self._rest, 0)
        self._had = [[0] * len(quotas)]  # for each round, the extra picks that each part had before

    def counts(self, round: int) -> list[int]:
        """Return how many picks each part gets in a round."""
        return [self.of(s).before(round + 1) - self.of(s).before(round) for s in range(len(self.whole))]

    def of(self, part: int) -> Schedule:
        """Return the schedule of one part."""
        return _Turn(self, part) if part in self._rest else Steady(self.whole[part])

    def before(self, part: int, round: int) -> int:
        """Return the picks of a part with a remainder in rounds 0…round − 1."""
        while len(self._had) <= round:
            for s, rest in self._rest.items():
                self._credit[s] += rest
            had = self._had[-1].copy()
            for s in sorted(self._rest, key=lambda s: (-self._credit[s], s))[: self._extra]:
                self._credit[s] -= self._scale
                had[s] += 1
            self._had.append(had)
        return round * self.whole[part] + self._had[round][part]


@dataclass(frozen=True, slots=True)
class _Turn:
    """The schedule of a part that gets an extra pick in some rounds."""

    turns: Turns
    part: int

    def before(self, round: int) -> int:
        return self.turns.before(self.part, round)


@lru_cache(maxsize=8)
def turns(quotas: tuple[Fraction, ...]) -> Turns:
    """Return the counts of these shares; those of the last few are kept, with what they know of earlier rounds."""
    return Turns(quotas)

"""Searches that score few rows and do not prove that these hold the best: named approximations, with their loss measured.

    Candidates(c, b)  the c best rows of a full pass are scored by every new query; a full pass comes every b picks
    Blocks(b)         b picks go by one query: the b best rows of one full pass

A full pass shows what the picks before it may have lost: just then, the row that the approximation would pick is compared with
the best of all, by the same query, in float64. The comparison comes when the query has moved furthest.
"""

import math
from dataclasses import dataclass, field

from torch import Tensor

from coreselect.errors import ShapeError
from coreselect.gradients.rows import Rows, argmax
from coreselect.search.few_passes import FewPasses, FullPass, everything
from coreselect.search.levels import Level, Query


@dataclass(frozen=True)
class Candidates:
    """Between two full passes, score only the rows that were best at the last one.

    Args:
        count: c ≥ 1, how many rows; fewer exist where the pool is smaller.
        every: b ≥ 1, picks from one full pass to the next; it comes earlier if all candidates are picked.
    Raises:
        ShapeError: a number is below 1.
    """

    count: int = 4096
    every: int = 64

    def __post_init__(self) -> None:
        _check(self, count=self.count, every=self.every)

    def over(self, rows: Rows, full: FullPass) -> "CandidateSearch":
        """Return the search over some rows, for one run of greedy."""
        return CandidateSearch(rows, full, self)


@dataclass(frozen=True)
class Blocks:
    """Search once for several picks: the query of a block's first pick decides all of them.

    The query is still computed at each pick, for the gains. `RCS(refresh=b)` picks the same and computes it once a block.

    Args:
        size: b ≥ 1, picks in a block.
    Raises:
        ShapeError: the size is below 1.
    """

    size: int = 64

    def __post_init__(self) -> None:
        _check(self, size=self.size)

    def over(self, rows: Rows, full: FullPass) -> "BlockSearch":
        """Return the search over some rows, for one run of greedy."""
        return BlockSearch(rows, FewPasses(rows, full), self)


@dataclass
class Loss:
    """What full passes have shown: how many were compared, how many found a better row, the largest share of a gain lost."""

    compared: int = 0
    missed: int = 0
    largest: float = 0.0

    def compare(self, best: float, ours: float) -> None:
        """Count one comparison of the best score with that of the row that would have been picked."""
        self.compared += 1
        if ours < best:
            self.missed += 1
            self.largest = max(self.largest, (best - ours) / abs(best) if best else math.inf)

    def said(self, passes: int, how: str) -> str:
        """Say it in a sentence."""
        found = f"at {self.missed} of {self.compared} of them another row was better, by up to {self.largest:.2g} of its gain"
        shown = found if self.compared else "none came later, so the loss is not known"
        return f"the search was approximate ({how}): {passes} full passes over the rows; {shown}"


class CandidateSearch:
    """The search of `Candidates`; one object serves one run of greedy.

    Attributes:
        passes: how many full passes were made.
        loss: what they have shown.
    """

    def __init__(self, rows: Rows, full: FullPass, kind: Candidates) -> None:
        self._rows, self._kind = rows, kind
        self._all = everything(rows, full)
        self._near: Level | None = None
        self._since = 0  # picks since the last full pass, that one included
        self.passes, self.loss = 0, Loss()

    def propose(self, query: Tensor, alive: Tensor) -> Tensor:
        """query [P or W], alive bool [M] → int64 [≥1]; no row may come alive again."""
        q = Query.of(query, self._rows.slack.device)
        alive = alive.to(q.seen.device)
        near = None
        if self._near is not None:
            self._near.score(q, alive)
            near = self._near.may_be_best(self._near.floor())  # empty if all candidates are picked
        if near is None or not len(near) or self._since >= self._kind.every:
            return self._pass(q, alive, near)
        self._since += 1
        return near

    def notes(self) -> tuple[str, ...]:
        """Say in a sentence what was lost."""
        return (self.loss.said(self.passes, f"{self._kind.count} candidates, a pass every {self._kind.every} picks"),)

    def _pass(self, q: Query, alive: Tensor, near: Tensor | None) -> Tensor:
        """Score all rows, compare the best with the best candidate, and choose new candidates."""
        self.passes += self._all.score(q, alive)
        found = self._all.may_be_best(self._all.floor())
        if near is not None and len(near):
            self.loss.compare(*(argmax(self._rows, ids, q.seen)[1] for ids in (found, near)))
        self._near = self._all.best(min(self._kind.count, self._rows.count))
        self._since = 1
        return found


@dataclass
class BlockSearch:
    """The search of `Blocks`; one object serves one run of greedy."""

    rows: Rows
    few: FewPasses
    kind: Blocks
    loss: Loss = field(default_factory=Loss)
    _query: Tensor | None = None
    _picks: int = 0

    @property
    def passes(self) -> int:
        """How many full passes were made."""
        return self.few.passes

    def propose(self, query: Tensor, alive: Tensor) -> Tensor:
        """query [P or W], alive bool [M] → int64 [1]."""
        begins = self._picks % self.kind.size == 0
        self._picks += 1
        if self._query is not None and not begins:
            return self.few.propose(self._query, alive)
        before = None if self._query is None else self.few.propose(self._query, alive)
        self._query = query
        found = self.few.propose(query, alive)
        if before is not None:
            self.loss.compare(*(argmax(self.rows, m, query)[1] for m in (found, before)))
        return found

    def notes(self) -> tuple[str, ...]:
        """Say what was lost."""
        return (self.loss.said(self.passes, f"blocks of {self.kind.size} picks by one query"),)


def _check(kind: Candidates | Blocks, **numbers: int) -> None:
    for name, value in numbers.items():
        if type(value) is not int or value < 1:
            raise ShapeError(f"{type(kind).__name__} needs {name} as a whole number of at least 1, got {value!r}.")

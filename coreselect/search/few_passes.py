"""Exact search with few passes over the rows, for a query that moves little from pick to pick.

The rows lie in levels: all of them, the best of them at the last full pass, the best of these. A pick scores the innermost
level alone, by the query as it is now. An outer level is scored again only if its bound (`coreselect.search.levels`) can no
longer rule its other rows out. So every pick is that of a full pass, equal scores included: they go to the lowest number,
after a decision in float64. A query that has not moved needs no pass at all.
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from coreselect.gradients.rows import Rows
from coreselect.search.levels import Level, Query
from coreselect.types import Float64

SHRINK = 16  # an inner level has one in so many rows of the next
LARGEST = 256 << 20  # bytes of an inner level, whose rows are gathered
SMALLEST = 4 << 20  # bytes of a level that is scored whole at every pick
WORTH = 4 * SMALLEST  # bytes of all rows from which levels pay
LONGEST_WAIT = 64  # full passes without inner levels, while these do not pay


class FullPass(Protocol):
    """A search that scores all rows in one pass: `slack` [M] bounds the error of `scores` for a query of norm 1."""

    slack: Tensor

    def scores(self, query: Tensor) -> Tensor:
        """query [W] → [M]."""
        ...


class FewPasses:
    """Propose the best row, decided in float64. One object serves one run of greedy: rows that are picked stay dead.

    Args:
        rows: of M groups.
        full: what makes a full pass over the same rows.

    Attributes:
        passes: how many full passes were made.
    """

    def __init__(self, rows: Rows, full: FullPass) -> None:
        self._rows = rows
        self._device = rows.slack.device
        self._levels = [everything(rows, full)]
        self._wait = self._skip = 0  # full passes without inner levels: in all, and still to come
        self._served = 0  # picks since the last full pass, that one included
        self._decided_at: Query | None = None
        self._values: Float64 | None = None  # [M], decided at that query; NaN: not yet
        self.passes = 0

    def propose(self, query: Tensor, alive: Tensor) -> Tensor:
        """query [P or W], alive bool [M] → int64 [1]; no row may come alive again."""
        q = Query.of(query, self._device)
        alive = alive.to(self._device)
        at = len(self._levels) - 1
        self._score(at, q, alive)
        floor = self._levels[at].floor()
        for outer in range(at - 1, -1, -1):
            if not self._levels[outer].rules_out_the_rest(q, floor):
                self._score(outer, q, alive)
                at, floor = outer, self._levels[outer].floor()
        found = self._decided(self._levels[at].may_be_best(floor), q)
        if at < len(self._levels) - 1 or at == 0:
            self._descend(at, floor)
        self._served += 1
        return found

    def notes(self) -> tuple[str, ...]:
        """Say nothing: no pick depends on how few passes there were."""
        return ()

    def _score(self, at: int, q: Query, alive: Tensor) -> None:
        """Score a level. A full pass is counted; inner levels that served one pick only are left out for the next passes."""
        if not self._levels[at].score(q, alive) or at > 0:
            return
        self.passes += 1
        if len(self._levels) > 1:
            self._skip = self._wait = min(max(1, 2 * self._wait), LONGEST_WAIT) if self._served <= 1 else 0
        else:
            self._skip = max(0, self._skip - 1)
        self._served = 0

    def _descend(self, at: int, floor: float) -> None:
        """Make the levels inside a level that has just been scored, as far as they are worth it."""
        del self._levels[at + 1 :]
        while not (at == 0 and self._skip):
            level = self._levels[-1]
            assert level.query is not None  # it has been scored
            row = len(level.query.seen) * level.query.seen.element_size()
            count = min(len(level) // SHRINK, LARGEST // row)
            if not count or row * len(level) <= (WORTH if at == 0 else SMALLEST):
                return
            inner = level.best(count)
            if not level.rules_out_the_rest(level.query, floor):
                return  # too many are equal
            self._levels.append(inner)
            at += 1

    def _decided(self, ids: Tensor, q: Query) -> Tensor:
        """Return the row with the largest float64 score, int64 [1]; what was decided is kept while the query stays."""
        found = np.sort(ids.cpu().numpy())
        if len(found) == 1:
            return torch.from_numpy(found)
        if self._decided_at is None or not torch.equal(self._decided_at.exact, q.exact):
            self._decided_at, self._values = q, None
            values = self._rows.exact(found, q.seen)
        else:
            if self._values is None:
                self._values = np.full(self._rows.count, np.nan)
            new = found[np.isnan(self._values[found])]
            if len(new):
                self._values[new] = self._rows.exact(new, q.seen)
            values = self._values[found]
        best = int(np.argmax(values))  # the first of equal values, and rows are sorted
        return torch.from_numpy(found[best : best + 1])


def everything(rows: Rows, full: FullPass) -> Level:
    """Return the level of all rows."""
    return Level(_All(rows, full), None, rows.longest(), full.slack.to(rows.slack.device, torch.float64))


class _All:
    """All rows, as scored by a search."""

    def __init__(self, rows: Rows, full: FullPass) -> None:
        self._device, self._full = rows.slack.device, full
        self.take = rows.take

    def scores(self, query: Tensor) -> Tensor:
        """query [W] → [M]."""
        return self._full.scores(query).to(self._device)

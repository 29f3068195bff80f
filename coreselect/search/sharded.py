"""Search over rows that lie on the ranks of a process group: every rank finds the same winner.

Each rank makes its own few passes over its own rows, and gives the float64 score and the number of its best one. The largest score
wins and ties go to the lowest number, as on a single machine, so the order of picks is the same. The owner then sends the row.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coreselect.gradients.rows import argmax
from coreselect.gradients.spread import SpreadRows
from coreselect.search.exact import ExactSearch
from coreselect.search.few_passes import FewPasses


class ShardedSearch:
    """Propose one row, the winner of all ranks, by its number among all rows; all ranks must ask together.

    Args:
        rows: of which this rank holds some, or none.
        full: what makes a full pass over the rows of a rank.

    Attributes:
        passes: how many full passes the rank that made the most has made over its rows.
    """

    def __init__(self, rows: SpreadRows, full: Callable[[Any], Any] = ExactSearch) -> None:
        self._rows = rows
        self._search = FewPasses(rows.local, full(rows.local)) if len(rows.local.matrix) else None
        self.passes = 0

    def propose(self, query: Tensor, alive: Tensor) -> Tensor:
        """query [W], alive bool [M] of all rows → int64 [1]; no row may come alive again."""
        rows = self._rows
        mine = alive[rows.first : rows.first + len(rows.local.matrix)]
        best, number, passes = -np.inf, -1.0, 0
        if self._search is not None:
            if bool(mine.any()):
                row, best = argmax(rows.local, self._search.propose(query, mine), query)
                number = float(rows.first + row)
            passes = self._search.passes
        said = rows.meeting.round(best, number, passes)
        self.passes = int(said[:, 2].max())
        said = said[said[:, 1] >= 0]
        winner = int(said[said[:, 0] == said[:, 0].max(), 1].min())
        rows.row(winner, met=True)  # from its owner, for the decision and the step that follow
        return torch.tensor([winner])

    def notes(self) -> tuple[str, ...]:
        """Say nothing: no pick depends on how the rows are spread."""
        return ()

"""Rows [M, W] that lie on the ranks of a process group: each rank holds some of them, and all ranks ask together.

    scores      each rank scores its rows, and all get all scores
    Rᵀw, mean   each rank sums its blocks, and the sums of all blocks are added in the order of the blocks
    one row     its owner sends it

Each rank holds whole blocks of `DenseRows`, consecutive ones. So every product is of the same block, and every sum has the same
order, as where one process holds all rows: the answers have the same bits. Every method is one or more collectives, but where it
says otherwise: all ranks must call it, with the same arguments.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.gradients.rows import (
    SAFE,
    VANISHED,
    Block,
    DenseRows,
    Full,
    Groups,
    Rows,
    gamma,
    row_products,
    rows_of_a_block,
)
from coreselect.support import ranks
from coreselect.support.meeting import Meeting
from coreselect.types import Float64


class SpreadRows:
    """The rows of M groups, of which this rank holds those from `starts[rank]` up to `starts[rank + 1]`.

    Args:
        meeting: of the ranks.
        local: this rank's rows; their groups count as 0, 1, ….
        starts: W + 1 numbers, ascending, from 0 to M; each is at the start of a block, or M.
        groups: of all M rows.
        full: (m, kept members or None) → row [P], on every rank without the others; None: as `DenseRows`.
        project: query [P] → [W]; None: the query itself.
        examples: the rows of the single examples whose means these rows are, on every rank, if they are available.
    """

    def __init__(
        self,
        meeting: Meeting,
        local: DenseRows,
        starts: Sequence[int],
        groups: Groups,
        *,
        full: Full | None = None,
        project: Callable[[Tensor], Tensor] | None = None,
        examples: Rows | None = None,
    ) -> None:
        self.meeting, self.local, self.starts, self.groups = meeting, local, starts, groups
        self._full, self._project, self.examples = full, project, examples
        self._counts = [b - a for a, b in pairwise(starts)]
        self.first = starts[ranks.rank()]
        self._norms = meeting.gathered(local.norms(), self._counts)
        width, dtype = local.matrix.shape[1], local.matrix.dtype
        self.slack = gamma(width, dtype) * self._norms
        self._held: tuple[int, Tensor] | None = None  # the last row that was sent, and its number

    @property
    def count(self) -> int:
        """M; no collective."""
        return self.starts[-1]

    def owner(self, m: int) -> int:
        """Return the rank that holds a row; no collective."""
        return int(np.searchsorted(self.starts, m, side="right")) - 1

    def norms(self) -> Tensor:
        """As `Rows` says; no collective."""
        return self._norms

    def longest(self) -> Tensor:
        """As `Rows` says; no collective."""
        return self._norms * SAFE + math.sqrt(self.local.matrix.shape[1]) * VANISHED

    def project(self, query: Tensor) -> Tensor:
        """As `Rows` says; no collective."""
        return query if self._project is None else self._project(query)

    def scores(self, query: Tensor) -> Tensor:
        matrix = self.local.matrix
        own = self.local.scores(query.to(matrix)) if len(matrix) else matrix.new_empty(0)
        return self.meeting.gathered(own, self._counts).to(query.device)

    def row(self, m: int, *, met: bool = False) -> Tensor:
        """Return row m [W], which its owner sends; the last one is held, and asking for it again is no collective.

        Args:
            met: whether all ranks have just met to ask for it.
        """
        if self._held is None or self._held[0] != m:
            owner, matrix = self.owner(m), self.local.matrix
            own = matrix[m - self.first] if owner == ranks.rank() else matrix.new_empty(matrix.shape[1])
            if not met:
                self.meeting.round()
            self._held = m, self.meeting.sent(own, owner)
        return self._held[1]

    def exact(self, ids: NDArray[np.int64], query: Tensor) -> Float64:
        q = query.detach().double().cpu().numpy()
        found = [row_products(self.row(int(m)).double().cpu().numpy()[None], q) for m in ids]
        return np.concatenate(found) if found else np.empty(0)

    def full(self, m: int, kept: NDArray[np.int64] | None = None) -> Tensor:
        """As `Rows` says; a sketched or trimmed row is computed again, by every rank without the others."""
        if self._full is None or (kept is None and self._project is None):
            return self.row(m)
        return self._full(m, kept)

    def mean(self) -> Tensor:
        sizes = torch.tensor([len(g) for g in self.groups], dtype=torch.float64)  # [M]
        return self.combine((sizes / sizes.sum()).to(self.local.matrix))

    def combine(self, weights: Tensor) -> Tensor:
        """Compute Rᵀw [W] for weights [M]."""
        matrix = self.local.matrix
        mine = weights[self.first : self.first + len(matrix)]
        own = self.local.partial_sums(mine) if len(matrix) else matrix.new_empty(0, matrix.shape[1])
        step = rows_of_a_block(matrix.shape[1] * matrix.element_size())
        return self.meeting.gathered(own, [-(-n // step) for n in self._counts]).sum(0)

    def gram(self, a: Tensor, b: Tensor) -> Tensor:
        left, right = self.take(a), self.take(b)
        return (left.matrix @ right.matrix.T).to(a.device)

    def take(self, ids: Tensor) -> Block:
        return Block(torch.stack([self.row(int(m)) for m in ids]))

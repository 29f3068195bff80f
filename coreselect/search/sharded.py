"""Search over rows that are spread over the ranks of a process group: every rank finds the same winner.

Rank r holds the rows m with m mod world = r. Every rank sends the float64 score and the number of its best row. The largest
score wins and ties go to the lowest number, as on a single machine, so the order of picks is the same.
"""

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from coreselect.gradients.rows import DenseRows, argmax
from coreselect.search.exact import ExactSearch
from coreselect.search.few_passes import FewPasses


class ShardedSearch:
    """Propose one row, the winner of all ranks, by its global number; every rank makes its own few passes.

    Args:
        local: this rank's rows; local row i is global row rank + i·world.
        group: the process group; None: the default one.
    """

    def __init__(self, local: DenseRows, group: dist.ProcessGroup | None = None) -> None:
        self._local, self._group = local, group
        self._rank, self._world = dist.get_rank(group), dist.get_world_size(group)
        self._search = FewPasses(local, ExactSearch(local))

    def propose(self, query: Tensor, alive: Tensor) -> Tensor:
        """query [P], alive bool [M] of all rows → int64 [1]; no row may come alive again."""
        mine = alive[self._rank :: self._world]
        answer = torch.tensor([-np.inf, -1.0], dtype=torch.float64, device=self._local.matrix.device)
        if bool(mine.any()):
            row, score = argmax(self._local, self._search.propose(query, mine), query)
            answer = answer.new_tensor([score, float(self._rank + row * self._world)])
        every = [torch.empty_like(answer) for _ in range(self._world)]
        dist.all_gather(every, answer, group=self._group)
        scores = torch.stack(every)  # [world, 2]
        best = scores[:, 0].max()
        winners = scores[(scores[:, 0] == best) & (scores[:, 1] >= 0), 1]
        return winners.min().long()[None]

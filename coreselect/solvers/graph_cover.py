"""Coverage of points by each other from a neighbour graph, in O(N·K) memory.

Source: Lindgren, Wu, Dimakis, "Leveraging sparsity for efficient submodular data summarization", NeurIPS 2016.
"""

import torch
from torch import Tensor

from coreselect.search.neighbours import Neighbours
from coreselect.search.similarity import Similarity, squared_distances_to
from coreselect.solvers.coverage import TAKEN, StoredGains

BLOCK_BYTES = 1 << 20  # of rows that are processed at once


class GraphCover(StoredGains):
    """Coverage of points by each other, where only a neighbour graph is stored.

    A candidate's gain counts only the rows that have it as a neighbour. Let s_i* be the similarity of row i to its last
    neighbour. A candidate outside the neighbours of i cannot raise b_i above s_i*. So gains are exact once every
    b_i ≥ s_i*, and before that too small by at most `unseen`. b itself is always exact: rows below s_i* are compared with
    every pick.

    Args:
        similarity: of the N points.
        graph: their neighbours.
        weights: w [N] ≥ 0.
    """

    def __init__(self, similarity: Similarity, graph: Neighbours, weights: Tensor) -> None:
        n, k = graph.indices.shape
        self.similarity, self.weights = similarity, weights.double()
        self._ids = graph.indices.int()  # [N, K]
        self._s = similarity.on_grid(graph.squares)  # [N, K]
        whole = k == n
        self._last = torch.zeros_like(self._s[:, -1]) if whole else self._s[:, -1].clone()  # s_i* [N]
        flat = graph.indices.flatten()
        self._edges = flat.argsort(stable=True)  # [N·K], sorted by candidate
        self._ends = torch.bincount(flat, minlength=n).cumsum(0).tolist()
        self._watched = torch.arange(0 if whole else n, device=flat.device)  # all rows with b_i < s_i*, and a few more
        self._is_watched = torch.full((n,), not whole, device=flat.device)
        self._z = similarity.points[: len(self._watched)]  # points of the watched rows
        self.reached = torch.zeros(n, dtype=torch.float32, device=flat.device)
        self.gains = torch.zeros(n, dtype=torch.float64, device=flat.device)
        self.gains.index_add_(0, flat, (self._s.double() * self.weights[:, None]).flatten())

    def take(self, x: int) -> None:
        edges = self._edges[self._ends[x - 1] if x else 0 : self._ends[x]]
        rows, new = edges // self._ids.shape[1], self._s.flatten()[edges]  # [E]
        if len(self._watched):
            squares = squared_distances_to(self._z, self.similarity.points[x].double())
            others = ~self._is_watched[rows]
            rows = torch.cat([self._watched, rows[others]])
            new = torch.cat([self.similarity.on_grid(squares), new[others]])
        higher = new > self.reached[rows]
        rows, new = rows[higher], new[higher]
        step = max(1, BLOCK_BYTES // (8 * self._ids.shape[1]))
        for r, to in zip(rows.split(step), new.split(step), strict=True):
            old = self.reached[r, None]  # [r, 1]
            fall = self._s[r].clamp_(old, to[:, None]).sub_(old).double()  # [r, K]
            fall.mul_(self.weights[r, None])
            self.gains.index_add_(0, self._ids[r].flatten(), fall.flatten(), alpha=-1)
        self.reached[rows] = new
        self.gains[x] = TAKEN
        rows = self.below_last_neighbour()
        if 2 * len(rows) <= len(self._watched):  # gather the points again once half of them need no watching
            self._is_watched[self._watched] = False
            self._is_watched[rows] = True
            self._watched, self._z = rows, self.similarity.points[rows]

    def unseen(self) -> float:
        rows = self.below_last_neighbour()
        return float(self.weights[rows] @ (self._last[rows] - self.reached[rows]).double())

    def below_last_neighbour(self) -> Tensor:
        """Return the rows with b_i < s_i*: no pick is as similar to them as their last neighbour. int64."""
        return self._watched[self.reached[self._watched] < self._last[self._watched]]

"""Coverage by a matrix of similarities, with exact gains."""

import math

import torch
from torch import Tensor

from coreselect.errors import ShapeError
from coreselect.solvers.coverage import TAKEN, StoredGains

BLOCK_BYTES = 1 << 20  # of rows that are processed at once


class DenseCover(StoredGains):
    """Coverage by a matrix.

    Args:
        similarities: s [V, M] float32, ≥ 0; columns cover rows. Gains are exact if s lies on the grid.
        weights: w [V] ≥ 0; None: 1 each.
    Raises:
        ShapeError: s is not a matrix, or an s or w is negative or not finite.
    """

    def __init__(self, similarities: Tensor, weights: Tensor | None = None) -> None:
        s = similarities
        if s.ndim != 2 or not bool((s.amin() >= 0) & (s.amax() < math.inf)):
            raise ShapeError(f"coverage needs a matrix of finite similarities ≥ 0, got one of shape {list(s.shape)}.")
        self.similarities = s
        self.weights = torch.ones(len(s), dtype=torch.float64, device=s.device) if weights is None else weights.double()
        if self.weights.shape != s.shape[:1] or not bool((self.weights >= 0).all()):
            raise ShapeError(f"coverage needs a weight ≥ 0 for each of {len(s)} rows, got {list(self.weights.shape)}.")
        self.reached = torch.zeros(len(s), dtype=s.dtype, device=s.device)
        self.gains = torch.zeros(s.shape[1], dtype=torch.float64, device=s.device)
        self._step = max(1, BLOCK_BYTES // (4 * s.shape[1]))
        for at in range(0, len(s), self._step):
            self.gains += self.weights[at : at + self._step] @ s[at : at + self._step].double()

    def take(self, x: int) -> None:
        column = self.similarities[:, x].clone()  # [V]
        for rows in (column > self.reached).nonzero().flatten().split(self._step):
            old, new = self.reached[rows, None], column[rows, None]  # [r, 1]
            fall = self.similarities[rows].clamp_(old, new).sub_(old)  # [r, M]
            self.gains -= self.weights[rows] @ fall.double()
        torch.maximum(self.reached, column, out=self.reached)
        self.gains[x] = TAKEN

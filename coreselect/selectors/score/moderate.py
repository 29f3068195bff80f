"""Moderate coreset: Xia, Liu, Yu, Shen, Han, Liu, "Moderate Coreset: A Universal Method of Data Selection for Real-world
Data-efficient Deep Learning", ICLR 2023.

    d_i = ‖φ_i − c_{y_i}‖₂,   c_y = mean of φ over class y;   keep in each class those of smallest |d_i − median_y(d)|

Class budgets by largest remainder; the authors' code takes the coordinate-wise median for c_y (`centre="median"`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from coreselect.budget import Budget, largest_remainder, resolve
from coreselect.errors import UnknownNameError
from coreselect.protocols import TaskLike
from coreselect.selectors.score.ranking import finite, rank
from coreselect.types import Selection


@dataclass(frozen=True)
class Moderate:
    """Keep, in each class, the examples whose distance to the class centre is nearest to the median distance.

    Args:
        centre: "mean", as published, or "median", as released.
    """

    centre: Literal["mean", "median"] = "mean"
    name = "moderate"
    requires = frozenset({"features", "labels"})
    renew = "round"

    def __post_init__(self) -> None:
        if self.centre not in ("mean", "median"):
            raise UnknownNameError(f"a centre is 'mean' or 'median', got {self.centre!r}.")

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k, y = resolve(budget, shot.n), shot.labels()
            phi = finite(shot.features(), "features", shot.positions)  # [n, D]
            members = [np.flatnonzero(y == c) for c in np.unique(y)]
            shares = largest_remainder(k, [len(m) for m in members])
            scores, picks = np.zeros(shot.n), []
            for m, share in zip(members, shares, strict=True):
                c = phi[m].mean(0) if self.centre == "mean" else np.median(phi[m], axis=0)  # [D]
                d = np.linalg.norm(phi[m] - c, axis=1)  # [n_c]
                scores[m] = np.abs(d - np.median(d))
                picks.append(m[rank(scores[m], "lowest")[:share]])
            return shot.selection(self, np.concatenate(picks), scores=scores)

"""Moderate coreset: Xia, Liu, Yu, Shen, Han, Liu, "Moderate Coreset: A Universal Method of Data Selection for Real-world
Data-efficient Deep Learning", ICLR 2023.

    d_i = ‖φ_i − c_{y_i}‖₂,   c_y = mean of φ over class y;   keep in each class those of smallest |d_i − median_y(d)|

The budget is shared over the classes by largest remainder. The authors' code uses the coordinate-wise median as c_y
(`centre="median"`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from coreselect.budget import Budget, largest_remainder, resolve
from coreselect.errors import UnknownNameError
from coreselect.planning.needs import OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.search.similarity import LARGEST
from coreselect.selectors.checks import finite_features
from coreselect.selectors.score.ranking import rank
from coreselect.support.limits import Needs
from coreselect.types import Selection


@dataclass(frozen=True)
class Moderate:
    """Keep, in each class, the examples whose distance to the class centre is nearest to the median distance.

    Args:
        centre: "mean", as in the paper, or "median", as in the authors' code.
    """

    centre: Literal["mean", "median"] = "mean"
    name = "moderate"
    requires = frozenset({"features", "labels"})
    renew = "round"

    def __post_init__(self) -> None:
        if self.centre not in ("mean", "median"):
            raise UnknownNameError(f"centre must be 'mean' or 'median', got {self.centre!r}.")

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method reads: features of width D once, a class at a time in float64."""
        n, largest = sizes.n, max(sizes.classes, default=sizes.n)
        way_out = "choose in windows (windowed)"
        return OwnWork("features", lambda d: Needs(read=32 * n * d, memory=32 * largest * d + 40 * n, way_out=way_out))

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k, y = resolve(budget, snapshot.n), snapshot.labels()
            members = [np.flatnonzero(y == c) for c in np.unique(y)]
            work = self.work(Sizes(snapshot.n, k, classes=tuple(map(len, members))))
            phi = finite_features(snapshot, limit=LARGEST, name=self.name, needs=work.of)  # [n, D]
            shares = largest_remainder(k, [len(m) for m in members])
            scores, picks = np.zeros(snapshot.n), []
            for m, share in zip(members, shares, strict=True):
                own = phi[torch.from_numpy(m).to(phi.device)].to("cpu", torch.float64).numpy()  # [n_c, D]
                c = own.mean(0) if self.centre == "mean" else np.median(own, axis=0)  # [D]
                d = np.linalg.norm(own - c, axis=1)  # [n_c]
                scores[m] = np.abs(d - np.median(d))
                picks.append(m[rank(scores[m], "lowest")[:share]])
            return snapshot.selection(self, np.concatenate(picks), scores=scores)

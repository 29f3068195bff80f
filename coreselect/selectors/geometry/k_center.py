"""k-center greedy: every pick is the example farthest from the picks before it.

    x_1 = argmin_i ‖φ_i − μ‖,    x_{t+1} = argmax_i min_{j∈S_t} ‖φ_i − φ_j‖,    r = max_i min_{j∈S} ‖φ_i − φ_j‖

Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 1985; as a coreset: Sener,
Savarese, "Active learning for convolutional neural networks: a core-set approach", ICLR 2018. The k picks and the example
farthest from them are k + 1 examples at least r apart. Any k balls hold two of them in one ball, so no k centres have a radius
below r/2.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from coreselect.budget import Budget, resolve
from coreselect.planning.needs import OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.search.distances import Distances
from coreselect.search.similarity import LARGEST, mean_point, squared_distances_to
from coreselect.selectors.checks import finite_features
from coreselect.solvers.falling import pick_falling
from coreselect.solvers.largest import first_largest
from coreselect.support.limits import Needs
from coreselect.types import Certificate, Selection


@dataclass(frozen=True)
class KCenter:
    """Choose examples so that every example has a pick near it: always the example farthest from the picks so far.

    The first pick is the example nearest the mean. Time O(N·k·D), memory O(N) beside the features. The gain of a pick is its
    distance to the picks before it, 0 for the first. The certificate states the covering radius.
    """

    name = "k_center"
    requires = frozenset({"features"})
    renew = "round"

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method computes on features of width D: 1.5·N·k·D multiply-adds at most, in O(N) memory."""
        return OwnWork("features", lambda d: Needs(1.5 * sizes.n * sizes.k * d, memory=64 * sizes.n))

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k, n = resolve(budget, snapshot.n), snapshot.n
            phi = finite_features(snapshot, limit=LARGEST, name=self.name, needs=self.work(Sizes(n, k)).of)  # [N, D]
            with snapshot.clock("greedy"):
                apart = squared_distances_to(phi, mean_point(phi))  # [N]
                first = first_largest(apart.neg_(), torch.zeros(len(phi), dtype=torch.bool, device=phi.device))
                nearest = NearestSquares(Distances(phi))
                nearest.add(first)
                picks, squares = pick_falling(
                    nearest, k, least=0.0, taken=[first], tick=partial(snapshot.progress, "greedy")
                )
                left = 0.0 if k == snapshot.n else pick_falling(nearest, k + 1, least=0.0, taken=picks)[1][0]
            gains = [0.0, *(square**0.5 for square in squares)]
            certificate = covering_radius(left**0.5)
            return snapshot.selection(
                self, np.array(picks), gains=np.array(gains), nested=True, certificate=certificate
            )


class NearestSquares:
    """min_{j∈S} ‖φ_i − φ_j‖² of every example (`coreselect.solvers.falling.Falling`)."""

    def __init__(self, distances: Distances) -> None:
        self._distances, self.n = distances, len(distances.points)
        self._upper = distances.squares.new_full((self.n,), torch.inf, dtype=torch.float32)  # [N], of scaled points
        self._picks: list[int] = []
        self._counted = 0  # picks that `_upper` counts

    def add(self, x: int) -> None:
        self._picks.append(x)

    def upper(self) -> Tensor:
        new = self._tensor(self._picks[self._counted :])
        for rows, squares in self._distances.upper(new):
            mine = self._upper[rows]
            torch.minimum(mine, squares.amin(0), out=mine)
        self._counted = len(self._picks)
        return self._upper.double().mul_(self._distances.unit).add_(self._distances.smallest)

    def exact(self, ids: Tensor) -> Tensor:
        return self._distances.nearest(ids, self._tensor(self._picks))

    def watch(self, ids: Tensor) -> None:
        self._squares = self._distances.watched(ids)

    def lowered(self, values: Tensor, x: int) -> Tensor:
        return torch.minimum(values, self._squares(x))

    def _tensor(self, picks: list[int]) -> Tensor:
        return torch.tensor(picks, dtype=torch.int64, device=self._upper.device)


def covering_radius(r: float) -> Certificate:
    """State that every example has a pick within r, and what that implies for the best possible radius."""
    return Certificate(
        method="covering radius",
        value=r,
        upper_bound=None,
        ratio=None,
        assumptions=(
            f"value is the covering radius r = {r:.6g} (smaller is better): every example has a pick within r in feature space",
            f"2-approximation: no set of as many centres has a radius below r/2 = {r / 2:.6g}",
            "distances are Euclidean, of the features without scaling",
        ),
        details={"radius": r, "least_possible_radius": r / 2},
    )

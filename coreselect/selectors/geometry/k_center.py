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

from coreselect.budget import Budget, resolve
from coreselect.protocols import TaskLike
from coreselect.search.similarity import LARGEST, mean_point, squared_distances_to
from coreselect.selectors.checks import finite_features
from coreselect.solvers.largest import pick_largest
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

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k = resolve(budget, snapshot.n)
            phi = finite_features(snapshot, limit=LARGEST)  # [N, D]
            with snapshot.clock("greedy"):
                mu = mean_point(phi)  # [D]
                values = -squared_distances_to(phi, mu)  # [N], for the first pick
                nearest = torch.full_like(values, torch.inf)  # min_j ‖φ_i − φ_j‖² [N]

                def add(x: int) -> None:
                    nonlocal values
                    torch.minimum(nearest, squared_distances_to(phi, phi[x].double()), out=nearest)
                    values = nearest

                picks, squares = pick_largest(lambda: values, add, k, tick=partial(snapshot.progress, "greedy"))
            gains = [0.0, *(square**0.5 for square in squares[1:])]
            certificate = covering_radius(float(nearest.max()) ** 0.5)
            return snapshot.selection(
                self, np.array(picks), gains=np.array(gains), nested=True, certificate=certificate
            )


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

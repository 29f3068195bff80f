"""Herding: the mean of the picks follows the mean of the pool.

    x_{t+1} = argmin_{x∉S_t} ‖(t + 1) μ − Σ_{j∈S_t} φ_j − φ_x‖,    μ = (1/N) Σ_i φ_i

Welling, "Herding dynamical weights to learn", ICML 2009; in this form: Rebuffi et al., "iCaRL: incremental classifier and
representation learning", CVPR 2017. The smallest distance is picked, so the mean of t picks approaches μ like 1/t.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coreselect.budget import Budget, resolve
from coreselect.planning.needs import OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.search.distances import Distances
from coreselect.search.similarity import LARGEST, mean_point, squared_distances_to
from coreselect.selectors.checks import finite_features
from coreselect.solvers.largest import at_least, first_largest
from coreselect.support.limits import Needs
from coreselect.types import Selection

EPS = 2.0**-23


@dataclass(frozen=True)
class Herding:
    """Choose examples, one by one, so that their mean feature stays as near as possible to the pool's.

    Time O(N·k·D), memory O(N) beside the features. The gain of a pick is how much it lowers ‖μ − mean of the picks‖; it may be
    negative. Before the first pick the mean counts as 0. A note gives the last distance.
    """

    name = "herding"
    requires = frozenset({"features"})
    renew = "round"

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method reads of features of width D: all of them, 4·N·D bytes, at every pick, in O(N) memory."""
        return OwnWork("features", lambda d: Needs(read=4 * sizes.n * sizes.k * d, memory=64 * sizes.n))

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k, n = resolve(budget, snapshot.n), snapshot.n
            phi = finite_features(snapshot, limit=LARGEST, name=self.name, needs=self.work(Sizes(n, k)).of)  # [N, D]
            with snapshot.clock("greedy"):
                mu = mean_point(phi)  # [D]
                rest = torch.zeros_like(mu)  # t μ − Σ_S φ [D]
                apart = [float(mu.norm())]  # ‖μ − mean of t picks‖, t = 0…k
                nearest = NearestTo(Distances(phi))
                picks: list[int] = []
                while len(picks) < k:
                    picks.append(x := nearest.best(rest + mu))
                    nearest.take(x)
                    rest += mu - phi[x].double()
                    apart.append(float(rest.norm()) / len(apart))
                    snapshot.progress("greedy", len(picks), k)
            note = (
                f"the mean feature of the picks is {apart[-1]:.6g} away from the pool's, whose norm is {apart[0]:.6g}"
            )
            return snapshot.selection(self, np.array(picks), gains=-np.diff(apart), nested=True, notes=(note,))


class NearestTo:
    """The example that is nearest to a moving target: float32 proposes, float64 decides, ties go to the lowest index.

    ‖φ_i − τ‖² = ‖x_i‖² − 2⟨x_i, v⟩ + ‖v‖²,   x, v: φ and τ, centred
    """

    def __init__(self, distances: Distances) -> None:
        self._distances, self._half = distances, distances.squares.div(2).float()  # ‖x_i‖²/2 [N]; infinite for picks
        self._rounding = 8 * torch.finfo(torch.float32).eps * float(distances.squares.max())

    def take(self, x: int) -> None:
        """Leave out x from now on."""
        self._half[x] = torch.inf

    def best(self, target: Tensor) -> int:
        """Return the example nearest to a target, float64 [D]."""
        d = self._distances
        products, error = d.products(d.scaled(target))  # [N]
        values = products.sub_(self._half)
        top = float(values.max())
        close = at_least(values, top - 2 * (error + self._rounding + EPS * abs(top)))
        if len(close) > 1:
            apart = squared_distances_to(d.points, target, close).neg_()
            return int(close[first_largest(apart, torch.zeros(len(close), dtype=torch.bool, device=close.device))])
        return int(close[0])

"""Herding: the mean of the picks follows the mean of the pool.

    x_{t+1} = argmin_{x∉S_t} ‖(t + 1) μ − Σ_{j∈S_t} φ_j − φ_x‖,    μ = (1/N) Σ_i φ_i

Welling, "Herding dynamical weights to learn", ICML 2009; in this form: Rebuffi et al., "iCaRL: incremental classifier and
representation learning", CVPR 2017. The smallest distance is picked, so the mean of t picks approaches μ like 1/t.
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
from coreselect.types import Selection


@dataclass(frozen=True)
class Herding:
    """Choose examples, one by one, so that their mean feature stays as near as possible to the pool's.

    Time O(N·k·D), memory O(N) beside the features. The gain of a pick is how much it lowers ‖μ − mean of the picks‖; it may be
    negative. Before the first pick the mean counts as 0. A note gives the last distance.
    """

    name = "herding"
    requires = frozenset({"features"})
    renew = "round"

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k = resolve(budget, snapshot.n)
            phi = finite_features(snapshot, limit=LARGEST)  # [N, D]
            with snapshot.clock("greedy"):
                mu = mean_point(phi)  # [D]
                rest = torch.zeros_like(mu)  # t μ − Σ_S φ [D]
                apart = [float(mu.norm())]  # ‖μ − mean of t picks‖, t = 0…k

                def add(x: int) -> None:
                    rest.add_(mu - phi[x].double())
                    apart.append(float(rest.norm()) / len(apart))

                picks, _ = pick_largest(
                    lambda: -squared_distances_to(phi, rest + mu), add, k, tick=partial(snapshot.progress, "greedy")
                )
            note = (
                f"the mean feature of the picks is {apart[-1]:.6g} away from the pool's, whose norm is {apart[0]:.6g}"
            )
            return snapshot.selection(self, np.array(picks), gains=-np.diff(apart), nested=True, notes=(note,))

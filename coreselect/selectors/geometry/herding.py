"""Herding: the mean of the picks follows the mean of the pool.

    x_{t+1} = argmin_{x∉S_t} ‖(t + 1) μ − Σ_{j∈S_t} φ_j − φ_x‖,    μ = (1/N) Σ_i φ_i

Welling, "Herding dynamical weights to learn", ICML 2009; in this form: Rebuffi et al., "iCaRL: incremental classifier and
representation learning", CVPR 2017. It is the smallest distance that is wanted: the mean of t picks then nears μ like 1/t.
"""

from dataclasses import dataclass

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.protocols import TaskLike
from coreselect.search.similarity import mean, squares_to, usable
from coreselect.solvers.submodular import first_largest
from coreselect.types import Selection


@dataclass(frozen=True)
class Herding:
    """Choose examples whose mean feature stays as near as can be to the pool's, pick by pick.

    Time O(N·k·D), memory O(N) beside the features. A pick's gain is how much it lowers ‖μ − mean of the picks‖, which may be
    negative (before the first pick the mean counts as 0); the last of these distances is noted.
    """

    name = "herding"
    requires = frozenset({"features"})
    renew = "round"

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k = resolve(budget, shot.n)
            phi = usable(shot.features())  # [N, D]
            with shot.clock("greedy"):
                mu = mean(phi)  # [D]
                rest = torch.zeros_like(mu)  # t μ − Σ_S φ [D]
                taken = torch.zeros(shot.n, dtype=torch.bool, device=phi.device)
                picks: list[int] = []
                apart = [float(mu.norm())]  # ‖μ − mean of t picks‖, t = 0…k
                for t in range(k):
                    x = first_largest(-squares_to(phi, rest + mu), taken)
                    rest += mu - phi[x].double()
                    taken[x] = True
                    picks.append(x)
                    apart.append(float(rest.norm()) / (t + 1))
                    shot.shared.progress("greedy", t + 1, k)
            note = f"the mean feature of the picks lies {apart[-1]:.6g} from the pool's, whose norm is {apart[0]:.6g}"
            return shot.selection(self, np.array(picks), gains=-np.diff(apart), nested=True, notes=(note,))

"""k-center greedy: every pick is the example farthest from the picks before it.

    x_1 = argmin_i ‖φ_i − μ‖,    x_{t+1} = argmax_i min_{j∈S_t} ‖φ_i − φ_j‖,    r = max_i min_{j∈S} ‖φ_i − φ_j‖

Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical Computer Science 1985; as a coreset: Sener,
Savarese, "Active learning for convolutional neural networks: a core-set approach", ICLR 2018. The k picks and the example farthest
from them are k + 1 examples at least r apart, and k balls hold two of them in one: no k centres have a radius below r/2.
"""

from dataclasses import dataclass

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.protocols import TaskLike
from coreselect.search.similarity import mean, squares_to, usable
from coreselect.solvers.submodular import first_largest
from coreselect.types import Certificate, Selection


@dataclass(frozen=True)
class KCenter:
    """Choose examples so that every example has one of them near: the farthest from those chosen, again and again.

    The first is the example nearest the mean. Time O(N·k·D); beside the features memory is one running minimum, O(N). A pick's
    gain is its distance to the picks before it, 0 for the first; the covering radius is stated as the certificate.
    """

    name = "k_center"
    requires = frozenset({"features"})
    renew = "round"

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k = resolve(budget, shot.n)
            phi = usable(shot.features())  # [N, D]
            with shot.clock("greedy"):
                mu = mean(phi)  # [D]
                nearest = torch.full_like(phi[:, 0], torch.inf, dtype=torch.float64)  # min_j ‖φ_i − φ_j‖² [N]
                taken = torch.zeros(shot.n, dtype=torch.bool, device=phi.device)
                x, gains = first_largest(-squares_to(phi, mu), taken), [0.0]
                picks = [x]
                for t in range(1, k + 1):
                    taken[x] = True
                    nearest = torch.minimum(nearest, squares_to(phi, phi[x].double()))
                    if t == k:
                        break
                    x = first_largest(nearest, taken)
                    picks.append(x)
                    gains.append(float(nearest[x]) ** 0.5)
                    shot.shared.progress("greedy", t + 1, k)
            sealed = covering(float(nearest.max()) ** 0.5)
            return shot.selection(self, np.array(picks), gains=np.array(gains), nested=True, certificate=sealed)


def covering(r: float) -> Certificate:
    """State that every example lies within r of a pick, and what that says of the best possible."""
    return Certificate(
        method="covering radius",
        value=r,
        upper_bound=None,
        ratio=None,
        assumptions=(
            f"value is the covering radius r = {r:.6g}, smaller is better: every example's features lie within r of a pick's",
            f"2-approximation: no set of as many centres has a radius below r/2 = {r / 2:.6g}",
            "distances are Euclidean, of the features as they stand",
        ),
        details={"radius": r, "least_possible_radius": r / 2},
    )

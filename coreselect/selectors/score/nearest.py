"""The nearest other examples of each example: N(i) = the K examples j ≠ i of smallest ‖φ_i − φ_j‖₂."""

import torch

from coreselect.search.neighbours import neighbours
from coreselect.selectors.checks import finite_features
from coreselect.support.limits import Needs
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64


def nearest_others(snapshot: Snapshot, count: int, name: str) -> tuple[Int64, Float64]:
    """Return N(i) in feature space, int64 [n, K], and the distances, float64 [n, K], nearest first; K = min(count, n − 1).

    Args:
        name: of the method, for an error message.
    Raises:
        RequirementError: the search needs more than the limits allow.
        NonFiniteError: features hold NaN or infinity.
    """
    n = snapshot.n
    phi = finite_features(
        snapshot, name=name, needs=lambda d: Needs(1.5 * n * n * d, memory=40 * n * min(n, count + 9) + 4 * n * d)
    )
    with snapshot.clock("neighbours"):
        found = neighbours(phi, count + 1)  # i itself may be among them
        itself = found.indices == torch.arange(snapshot.n, device=phi.device)[:, None]  # [n, ≤ count + 1]
        first = itself.int().sort(dim=1, stable=True).indices[:, : min(count, snapshot.n - 1)]  # the others, in order
        return found.indices.gather(1, first).cpu().numpy(), found.squares.gather(1, first).sqrt().cpu().numpy()

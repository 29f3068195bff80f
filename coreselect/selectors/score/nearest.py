"""The nearest other examples of each example: N(i) = the K examples j ≠ i of smallest ‖φ_i − φ_j‖₂."""

import torch

from coreselect.search.neighbours import neighbours
from coreselect.selectors.checks import finite_features
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64


def nearest_others(snapshot: Snapshot, count: int) -> tuple[Int64, Float64]:
    """Return N(i) in feature space, int64 [n, K], and the distances, float64 [n, K], nearest first; K = min(count, n − 1).

    Raises:
        NonFiniteError: features hold NaN or infinity.
    """
    phi = finite_features(snapshot)
    with snapshot.clock("neighbours"):
        found = neighbours(phi, count + 1)  # i itself may be among them
        itself = found.indices == torch.arange(snapshot.n, device=phi.device)[:, None]  # [n, ≤ count + 1]
        first = itself.int().sort(dim=1, stable=True).indices[:, : min(count, snapshot.n - 1)]  # the others, in order
        return found.indices.gather(1, first).cpu().numpy(), found.squares.gather(1, first).sqrt().cpu().numpy()

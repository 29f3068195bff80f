"""The neighbours of each example among the others: N(i) = the K examples j ≠ i of least ‖φ_i − φ_j‖₂."""

import torch

from coreselect.search.neighbours import neighbours
from coreselect.selectors.score.ranking import finite
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64


def others(shot: Snapshot, count: int) -> tuple[Int64, Float64]:
    """Return N(i) int64 [n, K] in feature space and the distances float64 [n, K], the nearest first, K = min(count, n − 1).

    Raises:
        NonFiniteError: features hold NaN or infinity.
    """
    phi = shot.features()
    finite(phi, "features", shot.positions)
    with shot.clock("neighbours"):
        found = neighbours(phi, count + 1)  # i itself may be among them
        own = found.indices == torch.arange(shot.n, device=phi.device)[:, None]  # [n, ≤ count + 1]
        first = own.int().sort(dim=1, stable=True).indices[:, : min(count, shot.n - 1)]  # the others, in their order
        return found.indices.gather(1, first).cpu().numpy(), found.squares.gather(1, first).sqrt().cpu().numpy()

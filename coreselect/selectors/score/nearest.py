"""The nearest other examples of each example: N(i) = the K examples j ≠ i of smallest ‖φ_i − φ_j‖₂."""

import torch

from coreselect.planning.needs import OwnWork
from coreselect.search.neighbours import neighbours
from coreselect.search.similarity import LARGEST
from coreselect.selectors.checks import finite_features
from coreselect.support.limits import Needs, refuse_beyond
from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64


def refuse_large(snapshot: Snapshot, count: int, name: str) -> None:
    """Refuse a neighbour search above the limits before anything is computed, if the width of the features is known.

    Raises:
        RequirementError: see above.
    """
    if snapshot.feature_width is not None:
        refuse_beyond(name, _needs(snapshot.n, snapshot.feature_width, count), snapshot.n)


def neighbour_work(n: int, count: int) -> OwnWork:
    """Return the work of a neighbour search in features of n examples."""
    return OwnWork("features", lambda width: _needs(n, width, count))


def _needs(n: int, width: int, count: int) -> Needs:
    return Needs(1.5 * n * n * width, memory=40 * n * min(n, count + 9) + 4 * n * width)


def nearest_others(snapshot: Snapshot, count: int, name: str) -> tuple[Int64, Float64]:
    """Return N(i) in feature space, int64 [n, K], and the distances, float64 [n, K], nearest first; K = min(count, n − 1).

    Args:
        name: of the method, for an error message.
    Raises:
        RequirementError: the search needs more than the limits allow.
        NonFiniteError: features hold NaN or infinity.
    """
    phi = finite_features(snapshot, limit=LARGEST, name=name, needs=lambda d: _needs(snapshot.n, d, count))
    with snapshot.clock("neighbours"):
        found = neighbours(phi, count + 1)  # i itself may be among them
        itself = found.indices == torch.arange(snapshot.n, device=phi.device)[:, None]  # [n, ≤ count + 1]
        first = itself.int().sort(dim=1, stable=True).indices[:, : min(count, snapshot.n - 1)]  # the others, in order
        return found.indices.gather(1, first).cpu().numpy(), found.squares.gather(1, first).sqrt().cpu().numpy()

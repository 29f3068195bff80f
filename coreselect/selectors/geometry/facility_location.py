"""Facility location: every example of the pool has a similar example among the picks.

    f(S) = Σ_{i∈V} max_{j∈S} s_ij,  s ≥ 0,    x_{t+1} = argmax_x f(S_t ∪ {x}) − f(S_t)

Nemhauser, Wolsey, Fisher, "An analysis of approximations for maximizing submodular set functions", Mathematical Programming
1978: greedy reaches 1 − 1/e of the best. On a neighbour graph: Lindgren, Wu, Dimakis, "Leveraging sparsity for efficient
submodular data summarization", NeurIPS 2016.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError, UnknownNameError
from coreselect.planning.needs import OwnWork, Sizes
from coreselect.protocols import TaskLike
from coreselect.search.distinct import distinct_points
from coreselect.search.neighbours import ENGINES, Engine, neighbours
from coreselect.search.similarity import LARGEST, Kind, Similarity, check_similarity, similarity
from coreselect.selectors.checks import finite_features
from coreselect.solvers.coverage import greedy_certificate, maximise
from coreselect.solvers.dense_cover import DenseCover
from coreselect.solvers.graph_cover import GraphCover
from coreselect.support.limits import Needs
from coreselect.task.snapshot import Snapshot
from coreselect.types import Selection


@dataclass(frozen=True)
class FacilityLocation:
    """Choose examples so that every example of the pool is similar to one of them.

    With up to `dense_up_to` distinct examples, s is a float32 matrix and the picks are those of plain greedy. With more, only
    the nearest neighbours of each example are stored, O(N·neighbours): early gains count neighbours only, so picks may differ
    from plain greedy, but the value that is stated is f itself. s is rounded to multiples of 2⁻²⁴, so sums are exact. Ties go to
    the lowest index. Picks that add nothing are the lowest indices that are left; a note gives their number. Equal examples
    are merged into one with their number as its weight.

    Args:
        similarity: `cosine` (1 + cos)/2, `euclidean` (a constant minus the squared distance, apricot's default up to scale) or
            `rbf`.
        bandwidth: σ > 0 of `rbf`; None: 2σ² is the mean squared distance.
        dense_up_to: ≥ 0, the largest number of distinct examples with a matrix of 4 bytes times its square (100 MB at 5,000).
        neighbours: ≥ 1, neighbours of each example in the graph.
        search: what proposes neighbours: `auto`, `faiss` or `torch`; both are exact to the rounding of float32.
    """

    similarity: Kind = "cosine"
    bandwidth: float | None = None
    dense_up_to: int = 5_000
    neighbours: int = 64
    search: Engine = "auto"
    name = "facility_location"
    requires = frozenset({"features"})
    renew = "round"

    def __post_init__(self) -> None:
        check_similarity(self.similarity, self.bandwidth)
        if self.dense_up_to < 0 or self.neighbours < 1:
            raise ShapeError(
                f"dense_up_to must be at least 0 and neighbours at least 1, got {self.dense_up_to} and {self.neighbours}."
            )
        if self.search not in ENGINES:
            raise UnknownNameError(f"no neighbour search is called {self.search!r}; there are {', '.join(ENGINES)}.")

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as snapshot:
            k = resolve(budget, snapshot.n)
            with snapshot.clock("similarity"):
                s = similarity(
                    finite_features(snapshot, limit=LARGEST, name=self.name, needs=self.work(Sizes(snapshot.n, k)).of),
                    self.similarity,
                    self.bandwidth,
                )
                first, weights = distinct_points(s.points)  # [M], [M]
                if len(first) < snapshot.n:
                    s = Similarity(s.points[first], s.scale, s.kind)
            cover, note = self._cover(snapshot, s, weights)
            with snapshot.clock("greedy"):
                found = maximise(cover, k, partial(snapshot.progress, "greedy"))
            picks = first.cpu().numpy()[found.picks]
            notes = [note]
            if isinstance(cover, GraphCover) and len(cover.below_last_neighbour()):
                far = len(cover.below_last_neighbour())
                notes.append(f"{far} distinct examples have no pick that is as near as their last neighbour")
            if len(picks) < k:
                notes.append(
                    f"{k - len(picks)} picks add nothing that could be measured: the lowest indices that were left"
                )
                picks = np.concatenate([picks, np.setdiff1d(np.arange(snapshot.n), picks)[: k - len(picks)]])
            return snapshot.selection(
                self,
                picks,
                gains=np.pad(found.gains, (0, k - len(found.gains))),
                nested=True,
                certificate=greedy_certificate(found.value, found.upper, promised=isinstance(cover, DenseCover)),
                notes=tuple(notes),
            )

    def work(self, sizes: Sizes) -> OwnWork:
        """Return what the method computes on features of width D: every similarity, and a matrix or a graph of them."""
        n = sizes.n
        stored = 4 * n * n if n <= self.dense_up_to else 40 * n * min(n, self.neighbours)
        return OwnWork("features", lambda d: Needs(1.5 * n * n * d, memory=stored + 8 * n * d))

    def _cover(self, snapshot: Snapshot, s: Similarity, weights: torch.Tensor) -> tuple[DenseCover | GraphCover, str]:
        """Return f over M distinct examples, as a matrix or a graph, and a note of the memory it needs."""
        m = len(s.points)
        if m <= self.dense_up_to:
            with snapshot.clock("similarity"):
                return DenseCover(s.matrix(), weights), f"dense: a float32 matrix of {m}×{m}, {4 * m * m:,} bytes"
        with snapshot.clock("neighbours"):
            graph = neighbours(s.points, self.neighbours, by=self.search)
            width = graph.indices.shape[1]
            note = f"graph: {width} neighbours of {m} distinct examples by {graph.engine}, {16 * m * width:,} bytes"
            return GraphCover(s, graph, weights), note

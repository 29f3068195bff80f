"""Facility location: every example of the pool has a pick that is like it.

    f(S) = Σ_{i∈V} max_{j∈S} s_ij,  s ≥ 0,    x_{t+1} = argmax_x f(S_t ∪ {x}) − f(S_t)

Nemhauser, Wolsey, Fisher, "An analysis of approximations for maximizing submodular set functions", Mathematical Programming
1978: greedy reaches 1 − 1/e of the best. On a neighbour graph: Lindgren, Wu, Dimakis, "Leveraging sparsity for efficient
submodular data summarization", NeurIPS 2016.
"""

from dataclasses import dataclass

import numpy as np
import torch

from coreselect.budget import Budget, resolve
from coreselect.errors import ShapeError, UnknownNameError
from coreselect.protocols import TaskLike
from coreselect.search.neighbours import ENGINES, Engine, neighbours
from coreselect.search.similarity import Kind, Similarity, distinct, refuse, similarity, usable
from coreselect.solvers.submodular import Cover, DenseCover, GraphCover, greedy_certificate, maximise
from coreselect.task.snapshot import Snapshot
from coreselect.types import Selection


@dataclass(frozen=True)
class FacilityLocation:
    """Choose examples so that every example of the pool has one of them like it.

    Up to `dense_up_to` different examples s is a float32 matrix, and the picks are plain greedy's. Beyond, only each example's
    nearest neighbours are kept, O(N·neighbours): early gains count neighbours alone, so picks may differ from plain greedy's,
    while the value stated is f's own. s is rounded to multiples of 2⁻²⁴, so sums are exact; ties go to the lowest index, and so do
    picks that add nothing, whose number is noted. Equal examples are one, counted as often as it occurs.

    Args:
        similarity: `cosine` (1 + cos)/2, `euclidean` (a constant less the squared distance, apricot's default up to scale) or
            `rbf`.
        bandwidth: σ > 0 of `rbf`; None: 2σ² is the mean squared distance.
        dense_up_to: ≥ 0, how many different examples may have a matrix, of 4 bytes times its square (100 MB at 5,000).
        neighbours: ≥ 1, of each example in the graph.
        search: `auto`, `faiss` or `torch`, what proposes neighbours; both are exact to float32's rounding.
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
        refuse(self.similarity, self.bandwidth)
        if self.dense_up_to < 0 or self.neighbours < 1:
            raise ShapeError(
                f"dense_up_to counts from 0 and neighbours from 1, got {self.dense_up_to} and {self.neighbours}."
            )
        if self.search not in ENGINES:
            raise UnknownNameError(f"no neighbour search is called {self.search!r}; there are {', '.join(ENGINES)}.")

    def select(self, task: TaskLike, budget: Budget, *, generator: torch.Generator, round: int = 0) -> Selection:
        with task.snapshot(generator.initial_seed(), round) as shot:
            k = resolve(budget, shot.n)
            with shot.clock("similarity"):
                s = similarity(usable(shot.features()), self.similarity, self.bandwidth)
                first, weights = distinct(s.points)  # [M], [M]
                if len(first) < shot.n:
                    s = Similarity(s.points[first], s.scale, s.kind)
            cover, note = self._cover(shot, s, weights)
            with shot.clock("greedy"):
                found = maximise(cover, k, lambda done, total: shot.shared.progress("greedy", done, total))
            picks = first.cpu().numpy()[found.picks]
            notes = [note]
            if isinstance(cover, GraphCover) and len(cover.open()):
                notes.append(f"{len(cover.open())} different examples have no pick as near as their last neighbour")
            if len(picks) < k:
                notes.append(f"{k - len(picks)} picks add nothing that is seen: the lowest indices left")
                picks = np.concatenate([picks, np.setdiff1d(np.arange(shot.n), picks)[: k - len(picks)]])
            return shot.selection(
                self,
                picks,
                gains=np.pad(found.gains, (0, k - len(found.gains))),
                nested=True,
                certificate=greedy_certificate(found.value, found.upper, promised=isinstance(cover, DenseCover)),
                notes=tuple(notes),
            )

    def _cover(self, shot: Snapshot, s: Similarity, weights: torch.Tensor) -> tuple[Cover, str]:
        """f over M different examples, dense or on the graph, and a note of what it takes."""
        m = len(s.points)
        if m <= self.dense_up_to:
            with shot.clock("similarity"):
                return DenseCover(s.matrix(), weights), f"dense: a float32 matrix of {m}×{m}, {4 * m * m:,} bytes"
        with shot.clock("neighbours"):
            graph = neighbours(s.points, self.neighbours, by=self.search)
            width = graph.indices.shape[1]
            note = f"graph: {width} neighbours of {m} different examples by {graph.engine}, {16 * m * width:,} bytes"
            return GraphCover(s, graph, weights), note

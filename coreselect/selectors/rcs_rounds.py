"""What RCS picks, whichever way it searches: one run of greedy over all groups, or two rounds (`rcs_greedi`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor

from coreselect.certificates.instance import GreedyProblem, certificate
from coreselect.gradients.rows import Rows
from coreselect.protocols import Search
from coreselect.search import search
from coreselect.solvers.greedy import greedy
from coreselect.task.snapshot import Snapshot
from coreselect.types import Certificate, Int64, Trace

if TYPE_CHECKING:
    from coreselect.selectors.rcs import RCS


@dataclass(frozen=True)
class Picked:
    """The picks, and what is said about them.

    Attributes:
        rows: of all M groups; they score at least the first query.
        trace, final: what greedy did, and θ′ [P] after it.
        passes: full passes over rows.
        notes: what the search has lost.
        certify: states the certificate, for the examples [k] and the objective with its inputs attacked at θ.
    """

    rows: Rows
    trace: Trace
    final: Tensor
    passes: int
    notes: tuple[str, ...]
    certify: Callable[[GreedyProblem, Int64], Certificate | None]


def picked_by_greedy(
    rcs: RCS, snapshot: Snapshot, problem: GreedyProblem, query: Tensor, seek: Search
) -> tuple[Trace, Tensor]:
    """Run greedy over the rows of a problem with the settings of RCS; return what it did, and θ′ [P] after it."""
    with snapshot.clock("greedy"):
        return greedy(
            problem.rows,
            problem.objective,
            seek,
            theta=problem.theta,
            eta=rcs.eta,
            budget=problem.budget,
            refresh=rcs.refresh,
            recraft=rcs.recraft,
            first=query,
            tick=partial(snapshot.progress, "greedy"),
        )


def one_round(rcs: RCS, snapshot: Snapshot, problem: GreedyProblem, query: Tensor) -> Picked:
    """Run greedy over all groups."""
    seek = search(rcs.search, problem.rows)
    trace, final = picked_by_greedy(rcs, snapshot, problem, query, seek)

    def certify(at_theta: GreedyProblem, picks: Int64) -> Certificate | None:
        if rcs.certify is None:
            return None
        return certificate(rcs.certify, at_theta, picks, trace.order, final, sigma=rcs.sigma_of(len(trace.order)))

    return Picked(problem.rows, trace, final, seek.passes, seek.notes(), certify)

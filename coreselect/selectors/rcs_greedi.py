"""The two rounds of `coreselect.search.GreeDi`, in one process or shared by ranks: the same picks for the same parts and seed.

Part i of P is worked on by rank i mod W: it makes the rows of its groups and picks from them. The ranks then give each other what
their parts have picked, with these rows, and each of them makes the second round.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from coreselect.certificates.greedi import greedi_certificate
from coreselect.certificates.instance import GreedyProblem
from coreselect.errors import ShapeError
from coreselect.gradients.rows import DenseRows, Groups, Rows
from coreselect.gradients.sketch import Sketch
from coreselect.objectives.on_validation import ValidationObjective
from coreselect.search import GreeDi, search
from coreselect.selectors.rcs_rounds import Picked, picked_by_greedy
from coreselect.support import ranks
from coreselect.support.meeting import Meeting
from coreselect.support.seeding import generator as seeded
from coreselect.task.snapshot import Snapshot
from coreselect.types import Certificate, Int64, Trace

if TYPE_CHECKING:
    from coreselect.selectors.rcs import RCS


def check_settings(rcs: Any) -> None:
    """Refuse settings that two rounds cannot keep.

    Raises:
        ShapeError: validation is attacked again, candidates are single examples, or another certificate is asked for.
    """
    wrong = (
        f"recraft={rcs.recraft!r}, and each part would attack validation again: use 'once'"
        if rcs.recraft != "once"
        else "groups='example': use 'batch'"
        if rcs.groups == "example"
        else f"certify={rcs.certify!r}, and GreeDi states its own guarantee: use 'instance' (or None), and certify again later"
        if rcs.certify not in (None, "instance")
        else None
    )
    if wrong:
        raise ShapeError(f"a search by GreeDi got {wrong}.")


def deal_parts(count: int, partitions: int, generator: torch.Generator) -> list[Int64]:
    """Deal the groups 0…count−1 at random into parts that differ in size by one at most; each ascends, and none is empty."""
    order = torch.randperm(count, generator=generator).numpy()
    return [np.sort(order[i::partitions]) for i in range(min(partitions, count))]


@dataclass(frozen=True)
class Solution:
    """What one run of greedy has picked: its trace, with the numbers of all groups, its value, and its full passes."""

    trace: Trace
    value: float
    passes: int


def two_rounds(
    rcs: RCS, snapshot: Snapshot, problem: GreedyProblem, query: Tensor, groups: Groups, sketch: Sketch | None
) -> tuple[Picked, Tensor | None]:
    """Pick in parts, then among their picks.

    Args:
        problem: without rows.
        groups, sketch: the candidates, and how their rows are sketched.
    Returns:
        The picks, and the groups' training losses [M] if they are known.
    """
    kind = rcs.search
    assert isinstance(kind, GreeDi)
    parts = deal_parts(len(groups), kind.partitions, seeded(snapshot.draw_seed, "greedi", snapshot.round))
    work, alone = snapshot.by_itself()
    meeting = Meeting(work, problem.theta.device) if work is not None else None
    me, world = (0, 1) if meeting is None else (ranks.rank(), ranks.world_size())
    dealt = [i for r in range(world) for i in range(r, len(parts), world)]  # the parts in the order of the ranks
    mine = range(me, len(parts), world)
    full = snapshot.full_rows(groups)
    like = problem.theta[:0]
    width = sketch.width if sketch else len(problem.theta)
    solved: dict[int, Solution] = {}
    scores, losses, means, picked = [like], [like], [like.new_empty(0, width)], [like.new_empty(0, width)]
    before = problem.objective.value(problem.theta) if isinstance(problem.objective, ValidationObjective) else None
    fixed = None if alone.fixed_groups is None else alone.rows(groups, sketch)[0]  # of arrays, which have them all
    for i in mine:
        ids = parts[i]
        rows, lost = _rows_of_part(alone, groups, ids, sketch, fixed)
        held = sum(len(g) for g in rows.groups)
        solved[i], order = _solve(
            rcs, snapshot, replace(problem, rows=rows, budget=min(problem.budget, held)), query, ids, before
        )
        scores.append(rows.scores(rows.project(query)).to(like))
        losses.append(like if lost is None else lost.to(like))
        means.append((rows.mean() * held).to(like)[None])
        picked.append(rows.matrix[torch.tensor(order)].to(like))
    if work is not None and meeting is not None:
        solved = {i: s for said in work.say("the picks of all parts", solved) for i, s in said.items()}

    def together(own: list[Tensor], counts: list[int]) -> Tensor:
        """Join what the parts have, [sum of counts, …], in the order of `dealt`."""
        if meeting is None:
            return torch.cat(own)
        return meeting.gathered(
            torch.cat(own), [sum(counts[dealt.index(i)] for i in range(r, len(parts), world)) for r in range(world)]
        )

    sizes = [len(parts[i]) for i in dealt]
    place = torch.from_numpy(np.argsort(np.concatenate([parts[i] for i in dealt])))  # part by part → by number
    has_losses = len(losses) < 2 or len(torch.cat(losses)) > 0
    of_groups = together(losses, sizes)[place] if _all_have(work, has_losses) else None
    found = together(picked, [len(solved[i].trace.order) for i in dealt])
    ids = np.concatenate([np.array(solved[i].trace.order) for i in dealt])
    by_number = np.argsort(ids)  # the second round sees the groups in the order of their numbers, as one greedy would
    ids, found = ids[by_number], found[torch.from_numpy(by_number)]
    mean = together(means, [1] * len(dealt)).sum(0) / sum(len(g) for g in groups)
    pool = _Pool(groups, together(scores, sizes)[place], mean, full, sketch)
    union = DenseRows(
        found,
        [groups[m] for m in ids],
        full=lambda j, kept: full(int(ids[j]), kept),
        project=sketch,
        names=snapshot.positions,
    )
    second, _ = _solve(rcs, snapshot, replace(problem, rows=union), query, ids, before)
    best, of_parts = second, -np.inf
    for i in range(len(parts)):
        if sum(solved[i].trace.kept) == problem.budget:  # a smaller part has less to pick from
            of_parts = max(of_parts, solved[i].value)
            if solved[i].value > best.value:
                best = solved[i]
    final = _stepped(problem, best.trace, union, ids)

    def certify(at_theta: GreedyProblem, picks: Int64) -> Certificate | None:
        del at_theta, picks
        if rcs.certify is None:
            return None
        return greedi_certificate(
            best.value,
            linear=not isinstance(problem.objective, ValidationObjective),
            partitions=len(parts),
            picks=len(best.trace.order),
            lipschitz_sigma=rcs.sigma_of(len(best.trace.order)),
            of_union=second.value,
            of_parts=of_parts,
        )

    passes = second.passes + sum(s.passes for s in solved.values())
    note = (
        f"the search was approximate (GreeDi with {len(parts)} parts): the second round lowers the objective by "
        f"{second.value:.4g}, and the best part alone by {of_parts:.4g}; what one greedy would reach is not known"
    )
    return Picked(pool, best.trace, final, passes, (note,), certify), of_groups


class _Pool(DenseRows):
    """What is kept of the rows of all groups: their scores at the first query, and their mean."""

    def __init__(self, groups: Groups, scores: Tensor, mean: Tensor, full: Any, sketch: Sketch | None) -> None:
        self.groups, self._scores, self._mean = groups, scores, mean
        self._full, self._project, self.examples = full, sketch, None

    @property
    def count(self) -> int:
        return len(self.groups)

    def scores(self, query: Tensor) -> Tensor:
        del query
        return self._scores

    def mean(self) -> Tensor:
        return self._mean

    def full(self, m: int, kept: Int64 | None = None) -> Tensor:
        return self._full(m, self.groups[m] if kept is None else kept)


def _all_have(work: ranks.Work | None, own: bool) -> bool:
    return own if work is None else all(work.say("the losses of groups", own))


def _rows_of_part(
    alone: Snapshot, groups: Groups, ids: Int64, sketch: Sketch | None, every: Rows | None
) -> tuple[DenseRows, Tensor | None]:
    """Return the rows of some groups as a matrix, made by this process alone or taken from all rows, and their losses."""
    if every is None:
        rows, losses = alone.rows([groups[m] for m in ids], sketch)
        assert isinstance(rows, DenseRows)
        return rows, losses
    assert isinstance(every, DenseRows)  # rows that came as arrays
    at = [groups[m] for m in ids]
    return DenseRows(
        every.matrix[torch.from_numpy(ids)], at, full=lambda j, kept: every.full(int(ids[j]), kept), project=sketch
    ), None


def _solve(
    rcs: RCS, snapshot: Snapshot, problem: GreedyProblem, query: Tensor, ids: Int64, before: float | None
) -> tuple[Solution, tuple[int, ...]]:
    """Run greedy over rows whose numbers among all groups are `ids`; return the solution, and the numbers among these rows.

    Args:
        before: the objective at θ; None where only its gradient is known.
    """
    seek = search("exact", problem.rows)
    trace, final = picked_by_greedy(rcs, snapshot, problem, query, seek)
    value = sum(trace.gains) if before is None else before - problem.objective.value(final)
    order = tuple(int(ids[m]) for m in trace.order)
    return Solution(Trace(order, trace.gains, trace.kept), value, seek.passes), trace.order


def _stepped(problem: GreedyProblem, trace: Trace, union: Rows, ids: Int64) -> Tensor:
    """Repeat the steps of a solution; return θ′ [P]."""
    here = problem.theta.clone()
    for m, kept in zip(trace.order, trace.kept, strict=True):
        j = int(np.searchsorted(ids, m))
        group = union.groups[j]
        row = union.full(j, None if kept == len(group) else group[:kept]).to(here)
        here = here - problem.eta * (kept / len(group)) * row
    return here

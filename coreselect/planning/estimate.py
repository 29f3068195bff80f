"""Put a plan together: what the selector needs, what that costs with this task, and how long the first batch takes."""

from typing import Any

from coreselect.planning.derived import needs_of
from coreselect.planning.facts import SKETCH, Facts, facts_of, sizes_of
from coreselect.planning.needs import Need, RowPasses, Sizes, Sweep
from coreselect.planning.prices import memory, passes
from coreselect.planning.record import Plan
from coreselect.planning.timing import rates, seconds_of, seconds_of_a_row_pass
from coreselect.task.model_snapshot import ModelSnapshot
from coreselect.task.snapshot import Snapshot

HARDLY_TIMED = "the time of the method's own work on its rows or features is not in the plan"


def estimate(snapshot: Snapshot, selector: Any, k: int, *, timed: bool) -> Plan:
    """Return the plan of one selection.

    Args:
        snapshot: of the whole task.
        k: the budget.
        timed: whether the first batch is swept for its time.
    """
    sizes = sizes_of(snapshot, k)
    needs = needs_of(selector, sizes)
    row_passes = sum(need.times for need in needs if isinstance(need, RowPasses)) or None
    if not isinstance(snapshot, ModelSnapshot):
        return Plan(selector.name, snapshot.n, k, row_passes=row_passes)
    facts, notes = facts_of(snapshot), list[str]()
    made = passes(needs, sizes, facts, notes)
    seconds: dict[str, float] | None = None
    number = 0
    if timed:
        per = rates(snapshot, needs, sizes, facts)
        number = per.timed
        seconds = {p.part: seconds_of(p, per) for p in made}
        one = _row_pass(snapshot, needs, sizes, facts)
        if one:
            seconds["greedy"] = one
        elif made:
            notes.append(HARDLY_TIMED)
    return Plan(
        selector.name, snapshot.n, k, made, row_passes, memory(needs, sizes, facts), seconds, number,
        str(snapshot.device), tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _row_pass(snapshot: ModelSnapshot, needs: tuple[Need, ...], sizes: Sizes, facts: Facts) -> float:
    """Estimate the seconds of all passes over rows or features."""
    total = 0.0
    like = snapshot.theta()[:1]
    for need in needs:
        if not isinstance(need, RowPasses):
            continue
        rows, width = sizes.n, facts.features
        if need.over == "rows":
            sweep = next((s for s in needs if isinstance(s, Sweep)), Sweep(0))
            rows, width = sweep.rows, sweep.width or (facts.row if sizes.caches else SKETCH)
        total += need.times * seconds_of_a_row_pass(rows, width, like)
    return total

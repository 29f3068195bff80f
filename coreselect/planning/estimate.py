"""Put a plan together: what the selector needs, what that costs with this task, and how long the first batch takes."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from coreselect.planning.derived import needs_of
from coreselect.planning.facts import SKETCH, Facts, facts_of, sizes_of
from coreselect.planning.needs import Need, OwnWork, RowPasses, Sizes, Sweep
from coreselect.planning.prices import memory, passes
from coreselect.planning.record import OWN, Plan
from coreselect.planning.timing import rates, seconds_of, seconds_of_a_row_pass, seconds_of_work
from coreselect.support.limits import Needs
from coreselect.task.model_snapshot import ModelSnapshot
from coreselect.task.snapshot import Snapshot

HARDLY_TIMED = "the time of the method's own work on its features, logits or rows is not in the plan"


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
        return _of_arrays(snapshot, selector, k, needs, row_passes, timed=timed)
    facts, notes = facts_of(snapshot), list[str]()
    widths = {"features": facts.features, "logits": facts.outputs, "rows": facts.row if sizes.caches else SKETCH}
    own = own_work(needs, widths)
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
        if own.products or own.read:
            seconds[OWN] = seconds_of_work(own, facts.features, snapshot.theta()[:1])
        elif made and not any(isinstance(need, OwnWork | RowPasses) for need in needs):
            notes.append(HARDLY_TIMED)
    return Plan(
        selector.name, snapshot.n, k, made, row_passes, own.products, own.read,
        {**memory(needs, sizes, facts), **_kept(own)}, seconds, number, str(snapshot.device), tuple(dict.fromkeys(notes)),
    )  # fmt: skip


def _of_arrays(
    snapshot: Snapshot, selector: Any, k: int, needs: tuple[Need, ...], row_passes: int | None, *, timed: bool
) -> Plan:
    """Return the plan of a selection from arrays: nothing passes through a model, and the method's own work is what there is."""
    widths = {
        "features": snapshot.feature_width or 0,
        "logits": snapshot.logit_width or 0,
        "rows": snapshot.row_width or 0,
    }
    own = own_work(needs, widths)
    seconds = None
    if timed and (own.products or own.read):
        seconds = {OWN: seconds_of_work(own, max(widths.values()), torch.empty(1))}
    return Plan(selector.name, snapshot.n, k, (), row_passes, own.products, own.read, _kept(own), seconds, device="cpu")


def own_work(needs: Iterable[Need], widths: Mapping[str, int]) -> Needs:
    """Add up what methods compute by themselves: products and bytes read in all, and the most that is kept at a time."""
    found = [need.of(widths[need.over]) for need in needs if isinstance(need, OwnWork)]
    return Needs(
        sum(f.products for f in found), sum(f.read for f in found), max((f.memory for f in found), default=0.0)
    )


def _kept(own: Needs) -> dict[str, int]:
    return {OWN: int(own.memory)} if own.memory else {}


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

"""Join the answers of a selector that was run on several parts of one pool."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from coreselect.task.snapshot import Snapshot
from coreselect.types import Float64, Int64, Selection


@dataclass(frozen=True)
class Part:
    """An answer whose indices are positions in `members`, themselves positions in the outer pool."""

    members: Int64
    selection: Selection


def merge(shot: Snapshot, selector: Any, parts: list[Part]) -> Selection:
    """Concatenate parts in order: groups numbered on, picks of unweighted parts weighted 1 beside weighted ones.

    Certificates speak of one part's pool and do not add up, so the whole carries none; a note says so.
    """
    groups: list[Int64] = []
    first = 0
    for p in parts:
        groups.append(p.selection.groups + first)
        first = int(groups[-1].max()) + 1
    weighted = any(p.selection.weights is not None for p in parts)
    scored = all(p.selection.scores is not None for p in parts)
    scores = np.full(shot.n, np.nan)
    for p in parts if scored else ():
        scores[p.members] = p.selection.scores
    notes = {n for p in parts for n in p.selection.provenance.notes}
    for number, p in enumerate(parts):
        notes |= {f"part {number}: {w}" for w in (p.selection.diagnostics.trouble() if p.selection.diagnostics else ())}
    if any(p.selection.certificate for p in parts):
        notes.add("certificates of the parts speak of one part's pool each and are not joined")
    return shot.selection(
        selector,
        np.concatenate([p.members[p.selection.indices] for p in parts]),
        groups=np.concatenate(groups),
        gains=np.concatenate([p.selection.gains for p in parts]),
        weights=np.concatenate([_weights(p.selection) for p in parts]) if weighted else None,
        scores=scores if scored and np.isfinite(scores).all() else None,
        diagnostics=parts[0].selection.diagnostics if len(parts) == 1 else None,
        nested=len(parts) == 1 and parts[0].selection.nested,
        notes=tuple(sorted(notes)),
    )


def _weights(selection: Selection) -> Float64:
    return np.ones(len(selection)) if selection.weights is None else selection.weights

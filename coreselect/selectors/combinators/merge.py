"""Merge selections from several parts of one pool into one selection."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from coreselect.task.snapshot import Snapshot
from coreselect.types import OVER_ROUNDS, Certificate, Float64, Int64, Selection


@dataclass(frozen=True)
class Part:
    """A selection from a part of the pool; its indices are positions in `members`, which are positions in the whole pool."""

    members: Int64
    selection: Selection


def merge(
    snapshot: Snapshot,
    selector: Any,
    parts: list[Part],
    certificate: Certificate | None = None,
    settings: dict[str, Any] | None = None,
) -> Selection:
    """Concatenate parts in order; groups are numbered on, and picks of parts without weights get weight 1 if others have some.

    Args:
        certificate: of the whole, joined from those of the parts; None: the whole has none, and a note says so if parts have.
        settings: facts to record in addition to the selector's own settings.
    """
    groups: list[Int64] = []
    first = 0
    for p in parts:
        groups.append(p.selection.groups + first)
        first = int(groups[-1].max()) + 1
    weighted = any(p.selection.weights is not None for p in parts)
    scored = all(p.selection.scores is not None for p in parts)
    scores = np.full(snapshot.n, np.nan)
    for p in parts if scored else ():
        scores[p.members] = p.selection.scores
    if any(p.selection.provenance.settings.get(OVER_ROUNDS) for p in parts):
        settings = {**(settings or {}), OVER_ROUNDS: True}
    notes = {n for p in parts for n in p.selection.provenance.notes}
    for number, p in enumerate(parts):
        notes |= {f"part {number}: {w}" for w in (p.selection.diagnostics.trouble() if p.selection.diagnostics else ())}
    if certificate is None and any(p.selection.certificate for p in parts):
        notes.add("each part's certificate is about its own part of the pool, so the whole selection has none")
    return snapshot.selection(
        selector,
        np.concatenate([p.members[p.selection.indices] for p in parts]),
        groups=np.concatenate(groups),
        gains=np.concatenate([p.selection.gains for p in parts]),
        weights=np.concatenate([_weights(p.selection) for p in parts]) if weighted else None,
        scores=scores if scored and np.isfinite(scores).all() else None,
        certificate=certificate,
        diagnostics=parts[0].selection.diagnostics if len(parts) == 1 else None,
        nested=len(parts) == 1 and parts[0].selection.nested,
        notes=tuple(sorted(notes)),
        settings=settings,
    )


def _weights(selection: Selection) -> Float64:
    return np.ones(len(selection)) if selection.weights is None else selection.weights

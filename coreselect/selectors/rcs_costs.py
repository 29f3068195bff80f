"""What a selection by RCS will need of the model and the rows, said before the work; it mirrors what `RCS.select` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coreselect.objectives import Objective
from coreselect.planning.needs import NaturalPass, Need, OnValidation, RowPasses, Sizes, Sweep
from coreselect.task.groups import default_size, sizes_of_deal

if TYPE_CHECKING:
    from coreselect.selectors.rcs import RCS


def costs_of_rcs(rcs: RCS, sizes: Sizes) -> tuple[Need, ...]:
    """Return the needs of one selection; the number of picked groups is exact where their sizes divide the budget."""
    if sizes.arrays:
        return (RowPasses(sizes.k, "rows"),)
    size = 1 if rcs.groups == "example" else rcs.group_size or default_size(sizes.k, batch_loss=sizes.batch_loss)
    few, most = sizes_of_deal(sizes.n, size)
    picks, at_most = -(-sizes.k // few), few < most
    recrafted = 0 if rcs.recraft == "once" else (picks - 1) // (rcs.refresh if rcs.recraft == "every" else rcs.recraft)
    trimmed = most - 1 if at_most else sizes.k % few
    assert isinstance(rcs.objective, Objective)
    return (
        OnValidation(
            rcs.objective,
            opened=1 if rcs.recraft == "once" else 2,
            crafted=2 + recrafted + (rcs.recraft != "once"),  # one in the diagnostics
            queries=-(-picks // rcs.refresh) + 3,  # and the values before, held and attacked again
            clean=1,
            at_most=at_most and (recrafted > 0 or not sizes.caches),
        ),
        *((NaturalPass(sizes.n),) if rcs.stratify == "clusters" else ()),
        Sweep(
            sizes.n,
            rows=-(-sizes.n // most),
            width=None if rcs.sketch is None else rcs.sketch.width,
            again=0 if sizes.factored else sizes.k if rcs.sketch or not sizes.caches else trimmed,
            at_most=at_most,
        ),
        RowPasses(picks, "rows"),
    )

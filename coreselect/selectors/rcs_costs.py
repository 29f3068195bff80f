"""What a selection by RCS will need of the model and the rows, said before the work; it mirrors what `RCS.select` does."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from coreselect.objectives import Objective
from coreselect.planning.needs import NaturalPass, Need, OnValidation, OwnWork, RowPasses, Sizes, Sweep
from coreselect.search import GreeDi
from coreselect.task.groups import default_size, sizes_of_deal
from coreselect.task.stratification import strata_needs

if TYPE_CHECKING:
    from coreselect.selectors.rcs import RCS


def costs_of_rcs(rcs: RCS, sizes: Sizes) -> tuple[Need, ...]:
    """Return the needs of one selection; the number of picked groups is exact where their sizes divide the budget."""
    clustered = OwnWork("features", partial(strata_needs, sizes.n, rcs.clusters))
    if sizes.arrays:
        return (RowPasses(sizes.k, "rows"), *((clustered,) if rcs.stratify == "clusters" else ()))
    size = 1 if rcs.groups == "example" else rcs.group_size or default_size(sizes.k, batch_loss=sizes.batch_loss)
    few, most = sizes_of_deal(sizes.n, size)
    picks, at_most = -(-sizes.k // few), few < most
    named = {"once": picks, "halfway": -(-picks // 2), "every": rcs.refresh}  # picks from one attack to the next
    recrafted = (picks - 1) // (named[rcs.recraft] if isinstance(rcs.recraft, str) else rcs.recraft)
    trimmed = most - 1 if at_most else sizes.k % few
    assert isinstance(rcs.objective, Objective)
    runs = 1 if not isinstance(rcs.search, GreeDi) else 1 + min(rcs.search.partitions, -(-sizes.n // most))
    at_most = at_most or runs > 1  # a part that holds less than the budget picks less
    trimmed = trimmed if runs == 1 else sizes.k  # other picks may be trimmed than those that are kept
    sweep = Sweep(
        sizes.n,
        rows=-(-sizes.n // most),
        width=None if rcs.sketch is None else rcs.sketch.width,
        again=0 if sizes.factored else runs * (sizes.k if rcs.sketch or not sizes.caches else trimmed),
        at_most=at_most,
    )
    return (
        OnValidation(
            rcs.objective,
            crafted=2 + recrafted,  # one in the diagnostics
            # and the values before, held and attacked again; of two rounds, a value at θ and one of each run
            queries=runs * -(-picks // rcs.refresh) + 3 + (runs + 1 if runs > 1 else 0),
            clean=1,
            at_most=at_most and (recrafted > 0 or not sizes.caches),
        ),
        *((NaturalPass(sizes.n), clustered) if rcs.stratify == "clusters" else ()),
        *(() if rcs.rows == "recorded" else (sweep,)),
        RowPasses(
            picks if runs == 1 else 2 * picks, "rows"
        ),  # each part goes over its own rows, and then all over the union
    )

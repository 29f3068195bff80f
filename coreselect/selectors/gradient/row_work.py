"""What methods compute on rows of single examples, and its refusal before the sweep.

one pass over rows [N, W]:   4·N·W bytes read of a matrix;   N·W multiply-adds where rows are factors, which are far shorter
"""

from coreselect.gradients.sketch import Sketch
from coreselect.planning.facts import sizes_of
from coreselect.planning.needs import OwnWork, SaysItsWork, Sizes
from coreselect.support.limits import Needs, refuse_beyond
from coreselect.task.snapshot import Snapshot


def passes_over_rows(sizes: Sizes, width: int, times: float) -> Needs:
    """Return what so many passes over the rows of all examples need."""
    numbers = times * sizes.n * width
    return Needs(products=numbers) if sizes.caches and not sizes.arrays else Needs(read=4 * numbers)


def rows_work(sizes: Sizes, times: float, kept: int) -> OwnWork:
    """Return the work of a method that goes over all rows so many times and keeps so many bytes for each example."""

    def of(width: int) -> Needs:
        found = passes_over_rows(sizes, width, times)
        return Needs(found.products, found.read, kept * sizes.n)

    return OwnWork("rows", of)


def refuse_rows(snapshot: Snapshot, selector: SaysItsWork, k: int, name: str) -> None:
    """Refuse work on rows above the limits, before the sweep.

    Args:
        selector: whose work it is.
        k: the budget.
        name: of the method.
    Raises:
        RequirementError: see above.
    """
    refuse_beyond(name, selector.work(sizes_of(snapshot, k)).of(row_width(snapshot)), snapshot.n)


def row_width(snapshot: Snapshot) -> int:
    """Return W, how many numbers a row has, without a sweep."""
    if snapshot.row_width is not None:
        return snapshot.row_width
    return Sketch().width if snapshot.needs_sketch else snapshot.layout().size

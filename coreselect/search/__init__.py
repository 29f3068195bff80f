"""Search proposes the rows that may have the largest score; `coreselect.gradients.rows.argmax` decides in float64."""

from coreselect.errors import UnknownNameError
from coreselect.gradients.rows import Rows
from coreselect.protocols import Search
from coreselect.search.exact import ExactSearch
from coreselect.search.faiss import FaissSearch
from coreselect.search.sharded import ShardedSearch

__all__ = ["SEARCHES", "ExactSearch", "FaissSearch", "ShardedSearch", "search"]

SEARCHES = ("auto", "exact", "faiss")


def search(which: str, rows: Rows) -> Search:
    """Return the search of that name over the rows; `auto` is the exact matrix product.

    Raises:
        UnknownNameError: no search has that name.
        MissingExtraError: `faiss` is asked for and not installed.
        RequirementError: `faiss` is asked for and the rows are not a matrix.
    """
    if which in ("auto", "exact"):
        return ExactSearch(rows)
    if which == "faiss":
        return FaissSearch(rows)
    raise UnknownNameError(f"no search is called {which!r}; there are {', '.join(SEARCHES)}.")

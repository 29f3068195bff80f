"""Search proposes the rows that may have the largest score; `coreselect.gradients.rows.argmax` decides in float64."""

import re
from typing import Protocol

from coreselect.errors import ShapeError, UnknownNameError
from coreselect.gradients.rows import Rows
from coreselect.protocols import Search
from coreselect.search.approximate import Blocks, Candidates
from coreselect.search.exact import ExactSearch
from coreselect.search.faiss import FaissSearch
from coreselect.search.few_passes import FewPasses
from coreselect.search.sharded import ShardedSearch

__all__ = [
    "SEARCHES",
    "Blocks",
    "Candidates",
    "ExactSearch",
    "FaissSearch",
    "FewPasses",
    "GreedySearch",
    "SearchKind",
    "ShardedSearch",
    "search",
    "search_kind",
]

SEARCHES = ("auto", "exact", "faiss", "candidates", "blocks")
SearchKind = str | Candidates | Blocks


class GreedySearch(Search, Protocol):
    """A search for one run of greedy: no row may come alive again."""

    @property
    def passes(self) -> int:
        """How many passes over all rows it has made."""
        ...

    def notes(self) -> tuple[str, ...]:
        """Say what an approximation has lost, as far as full passes have shown; nothing for an exact search."""
        ...


def search_kind(which: SearchKind) -> SearchKind:
    """Return `auto`, `exact` or `faiss` as it is, and an approximation written in words as its type.

    Args:
        which: a name of `SEARCHES`, or `candidates=4096x64` (4096 rows, a full pass every 64 picks), or `blocks=64`.
    Raises:
        UnknownNameError: no search has that name.
        ShapeError: the numbers of an approximation are missing or below 1.
    """
    if not isinstance(which, str):
        return which
    name, given, numbers = which.partition("=")
    if name not in SEARCHES or (given and name not in ("candidates", "blocks")):
        raise UnknownNameError(f"no search is called {which!r}; there are {', '.join(SEARCHES)}.")
    if name == "candidates" and re.fullmatch(r"\d{1,12}x\d{1,12}", numbers):
        count, every = map(int, numbers.split("x"))
        return Candidates(count, every)
    if name == "blocks" and re.fullmatch(r"\d{1,12}", numbers):
        return Blocks(int(numbers))
    if given:
        raise ShapeError(
            f"a search is written candidates=4096x64 (rows x picks to the next full pass) or blocks=64, got {which!r}."
        )
    return {"candidates": Candidates(), "blocks": Blocks()}.get(name, which)


def search(which: SearchKind, rows: Rows) -> GreedySearch:
    """Return a search over the rows for one run of greedy; `auto` is `exact`.

    Exact and FAISS searches pick the same, with few passes (`coreselect.search.few_passes`).

    Raises:
        UnknownNameError, ShapeError: as `search_kind` says.
        MissingExtraError: `faiss` is asked for and not installed.
        RequirementError: `faiss` is asked for and the rows are not a matrix.
    """
    kind = search_kind(which)
    if not isinstance(kind, str):
        return kind.over(rows, ExactSearch(rows))
    return FewPasses(rows, FaissSearch(rows) if kind == "faiss" else ExactSearch(rows))

"""Search proposes the rows that may have the largest score; `coreselect.gradients.rows.argmax` decides in float64."""

import re
from typing import Protocol

from coreselect.errors import ShapeError, UnknownNameError
from coreselect.gradients.rows import Rows
from coreselect.gradients.spread import SpreadRows
from coreselect.protocols import Search
from coreselect.search.approximate import Blocks, Candidates
from coreselect.search.exact import ExactSearch
from coreselect.search.faiss import FaissSearch
from coreselect.search.few_passes import FewPasses
from coreselect.search.greedi import GreeDi
from coreselect.search.sharded import ShardedSearch

__all__ = [
    "SEARCHES",
    "Blocks",
    "Candidates",
    "ExactSearch",
    "FaissSearch",
    "FewPasses",
    "GreeDi",
    "GreedySearch",
    "SearchKind",
    "ShardedSearch",
    "search",
    "search_kind",
    "spread_by",
]

SEARCHES = ("auto", "exact", "faiss", "sharded", "candidates", "blocks", "greedi")
SearchKind = str | Candidates | Blocks | GreeDi


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
    """Return `auto`, `exact`, `faiss` or `sharded` as it is, and an approximation written in words as its type.

    Args:
        which: a name of `SEARCHES`, or `candidates=4096x64` (4096 rows, a full pass every 64 picks), `blocks=64`, or
            `greedi=8` (parts).
    Raises:
        UnknownNameError: no search has that name.
        ShapeError: the numbers of an approximation are missing or below 1.
    """
    if not isinstance(which, str):
        return which
    name, given, numbers = which.partition("=")
    if name not in SEARCHES or (given and name not in ("candidates", "blocks", "greedi")):
        raise UnknownNameError(f"no search is called {which!r}; there are {', '.join(SEARCHES)}.")
    if name == "candidates" and re.fullmatch(r"\d{1,12}x\d{1,12}", numbers):
        count, every = map(int, numbers.split("x"))
        return Candidates(count, every)
    if name in ("blocks", "greedi") and re.fullmatch(r"\d{1,12}", numbers):
        return Blocks(int(numbers)) if name == "blocks" else GreeDi(int(numbers))
    if given:
        raise ShapeError(
            "a search is written candidates=4096x64 (rows x picks to the next full pass), blocks=64 or greedi=8 (parts), got "
            f"{which!r}."
        )
    return {"candidates": Candidates(), "blocks": Blocks(), "greedi": GreeDi()}.get(name, which)


def spread_by(which: SearchKind) -> bool | None:
    """Say what a search wants of `Snapshot.rows(spread=…)`: rows that are spread, not, or where they are too many for a rank.

    An approximation measures its loss by passes over all rows, so every rank holds them.
    """
    kind = search_kind(which)
    return None if kind in ("auto", "exact", "faiss") else kind == "sharded"


def search(which: SearchKind, rows: Rows) -> GreedySearch:
    """Return a search over the rows for one run of greedy; `auto` is `exact`.

    Exact and FAISS searches pick the same, with few passes (`coreselect.search.few_passes`), also over rows that are spread over
    ranks. `sharded` is `exact`; who asks for it asks for rows that are spread (`spread_by`).

    Raises:
        UnknownNameError, ShapeError: as `search_kind` says.
        MissingExtraError: `faiss` is asked for and not installed.
        RequirementError: `faiss` is asked for and the rows are not a matrix.
    """
    kind = search_kind(which)
    if not isinstance(kind, str):
        return kind.over(rows, ExactSearch(rows))
    if isinstance(rows, SpreadRows):
        return ShardedSearch(rows, FaissSearch if kind == "faiss" else ExactSearch)
    return FewPasses(rows, FaissSearch(rows) if kind == "faiss" else ExactSearch(rows))

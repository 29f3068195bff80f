"""The tables of `coreselect compare` on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from coreselect.cli.whole_tables import print_whole
from coreselect_integrations.comparison.page import standing
from coreselect_integrations.comparison.picks import table_of_picks
from coreselect_integrations.comparison.statistics import FULL, REFERENCE, Record, is_reference
from coreselect_integrations.comparison.tables import NARROW, blocks, nonempty_columns, what_can_be_seen

SHORTEST = 12  # characters of a method's name in one line; a long name continues in the next, a number is never cut


def _table(names: Sequence[str], rows: Sequence[Sequence[str]], styles: Sequence[str | None]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    for name in names:
        first = name == "method"
        table.add_column(
            name, justify="left" if first else "right", no_wrap=not first, overflow="fold", min_width=SHORTEST * first
        )
    for row, style in zip(rows, styles, strict=True):
        table.add_row(*row, style=style)
    return table


def show(records: Sequence[Record], files: Sequence[Path], about: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Print one table for each block, what its seeds can tell, how to read it, and which files were written.

    Args:
        about: of the comparison; `chosen_on`, if it is there, are the seeds on which settings were chosen.
    """
    found = blocks(records, about.get("chosen_on") or ())
    console = Console(highlight=False)
    for title, lines in found:
        names, rows = nonempty_columns(NARROW, lines)
        styles = [
            "bold" if line.against is None and is_reference(line.method) else "dim" if line.method == FULL else None
            for line in lines
        ]
        console.print(title, style="italic")
        at = names.index("method")
        cut = [[word[:SHORTEST] if i == at else word for i, word in enumerate(row)] for row in rows]
        print_whole(_table(names, rows, styles), narrowest=_table(names, cut, styles))
        if said := what_can_be_seen(lines):
            console.print(said)
        console.print()
    if any(line.against is not None for _, lines in found for line in lines):
        console.print(
            f"− {REFERENCE}: points of robust accuracy, paired by seed; Holm: p, two-sided, of a paired t-test, corrected for all "
            "lines; can tell: with power 0.8 at p < 0.05; seconds count the warm-up."
        )
        console.print(standing(about))
    names, rows = table_of_picks(records)
    if rows:
        table = Table(*names, box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
        for row in rows:
            table.add_row(*row)
        print_whole(table)
        console.print()
    for path in files:
        console.print(f"wrote {path}", soft_wrap=True, markup=False)

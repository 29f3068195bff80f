"""The tables of `coreselect compare` on the terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from coreselect.cli.whole_tables import print_whole
from coreselect_integrations.comparison.statistics import FULL, REFERENCE, Record
from coreselect_integrations.comparison.tables import NARROW, blocks, nonempty_columns


def show(records: Sequence[Record], files: Sequence[Path]) -> None:
    """Print one table for each block, how to read it, and which files were written."""
    console = Console(highlight=False)
    for title, lines in blocks(records):
        table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
        names, rows = nonempty_columns(NARROW, lines)
        for name in names:
            first = name == "method"  # a long name continues in the next line, a number is never cut
            table.add_column(
                name, justify="left" if first else "right", no_wrap=not first, overflow="fold", min_width=12 * first
            )
        for line, row in zip(lines, rows, strict=True):
            style = "bold" if line.method == REFERENCE else "dim" if line.method == FULL else None
            table.add_row(*row, style=style)
        console.print(title, style="italic")
        print_whole(table)
        console.print()
    if any(line.against is not None for _, lines in blocks(records) for line in lines):
        console.print(
            f"− {REFERENCE}: points of robust accuracy, paired by seed; p: two-sided, of a paired t-test; seconds count the "
            "warm-up."
        )
    for path in files:
        console.print(f"wrote {path}", soft_wrap=True, markup=False)

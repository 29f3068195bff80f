"""Tables on narrow terminals: a line is longer than the terminal rather than a name or a number cut off."""

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table


def print_whole(shown: RenderableType, *, highlight: bool = False, narrowest: RenderableType | None = None) -> None:
    """Print on stdout, in lines at least as long as what must not be broken needs.

    Args:
        narrowest: is measured in place of it, where words of it may be broken.
    """
    console = Console(highlight=highlight)
    measured = narrowest or shown
    if isinstance(measured, Table):
        _keep_cells_whole(measured, console)
    least = Measurement.get(console, console.options.update(max_width=1000), measured).minimum
    if least > console.width:
        console = Console(highlight=highlight, width=least)
    console.print(shown)


def _keep_cells_whole(table: Table, console: Console) -> None:
    """Make the columns that must not be broken as wide as their widest cell: rich counts its longest word only."""
    wide = console.options.update(max_width=1000)
    for column in table.columns:
        if column.no_wrap:
            cells = (column.header, *column.cells)
            column.min_width = max(Measurement.get(console, wide, cell).maximum for cell in cells)

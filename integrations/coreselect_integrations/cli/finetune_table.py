"""The table of a whole evaluation as the papers print it: a line for each network, SA, RA and CA for each mode, and means."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

SHORT = {"standard": "SA", "pgd20": "PGD-20", "autoattack": "AA", "corruptions": "CA"}


def table(result: Mapping[str, Any]) -> Table:
    """Lay out the content of results.json, in per cent.

    Args:
        result: `measures`, and `networks` with `name`, `accuracy` by mode and measure, and `mean` by measure.
    """
    modes = list(dict.fromkeys(mode for row in result["networks"] for mode in row["accuracy"]))
    shown = Table(box=box.SIMPLE_HEAD, title="accuracy %", title_justify="left", padding=(0, 0, 0, 1), pad_edge=False)
    shown.add_column("", no_wrap=True)
    for mode in (*modes, *(["mean"] if len(modes) > 1 else [])):
        for measure in result["measures"]:
            shown.add_column(f"{mode}\n{SHORT[measure]}", justify="right", no_wrap=True)
    for row in result["networks"]:
        cells = [row["accuracy"].get(mode, {}) for mode in modes]
        cells += [row["mean"]] if len(modes) > 1 else []
        values = [cell.get(measure) for cell in cells for measure in result["measures"]]
        shown.add_row(Text(row["name"]), *("" if v is None else f"{100 * v:.2f}" for v in values))
    return shown

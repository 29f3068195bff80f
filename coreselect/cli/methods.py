"""`coreselect methods`: the selectors, and what each one needs."""

import json as json_
from typing import Any

import typer

from coreselect.cli.options import Json
from coreselect.selectors.catalogue import CATALOGUE, list_selectors

_NARROWEST = {"needs": 10, "what it does": 16}  # characters
_BUILT_IN = {entry.name: entry for entry in CATALOGUE}


def methods(json: Json = False) -> None:
    """List the selectors: what each needs, and how often it renews its choice."""
    found = [_describe(name) for name in list_selectors()]
    if json:
        typer.echo(json_.dumps(found, indent=2))
        return
    from rich.table import Table

    from coreselect.cli.whole_tables import print_whole

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("selector", "renews", "needs", "what it does"):
        table.add_column(
            column, overflow="fold", no_wrap=column in ("selector", "renews"), min_width=_NARROWEST.get(column)
        )
    for one in found:
        table.add_row(one["name"], one["renew"] or "", ", ".join(one["requires"]) or "nothing", one["about"])
    print_whole(table, highlight=True)


def _describe(name: str) -> dict[str, Any]:
    """Return a selector's name, when it renews its choice, what it requires, and a line about it."""
    entry = _BUILT_IN.get(name)
    if entry is None:
        return {"name": name, "renew": None, "requires": [], "about": "registered by another package"}
    if not entry.combines:
        return {"name": name, "renew": entry.renew, "requires": list(entry.requires), "about": entry.about}
    needs = [*entry.requires, "what its selectors need"]
    return {"name": name, "renew": "as they do", "requires": needs, "about": entry.about + " (Python only.)"}

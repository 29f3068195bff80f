"""`coreselect methods`: what there is to choose with, and what each needs."""

import json as json_
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from coreselect.selectors import COMBINATORS, SELECTORS, Random, list_selectors


def methods(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the selectors: what each needs, and when another call gives another answer."""
    found = [_describe(name) for name in list_selectors()]
    if json:
        typer.echo(json_.dumps(found, indent=2))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("selector", "renews", "needs", "what it does"):
        table.add_column(column, overflow="fold", no_wrap=column in ("selector", "renews"))
    for one in found:
        table.add_row(one["name"], one["renew"] or "", ", ".join(one["requires"]) or "nothing", one["about"])
    Console().print(table)


def _describe(name: str) -> dict[str, Any]:
    factory = SELECTORS.get(name)
    if factory is None:
        return {"name": name, "renew": None, "requires": [], "about": "registered by another package"}
    about = (factory.__doc__ or "").strip().splitlines()[0]
    if factory not in COMBINATORS:
        made = factory()
        return {"name": name, "renew": made.renew, "requires": sorted(made.requires), "about": about}
    inner: Any = [Random()] if name == "mixture" else Random()
    made = factory(inner)
    needs = [*sorted(made.requires), "what its selectors need"]
    return {"name": name, "renew": "as they do", "requires": needs, "about": about + " (Python only.)"}

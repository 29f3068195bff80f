"""Plans of selections on stdout: as a table in 80 columns, or as JSON."""

import json as json_
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from coreselect.gradients.row_store import FolderStore
from coreselect.planning.record import OWN, Plan

SHARED = "Sweeps that these methods have in common are made once; each plan counts its own."


def show_plans(plans: Sequence[Plan], *, warm_up: float | None, store: Path | None, json: bool) -> None:
    """Print plans.

    Args:
        warm_up: seconds of the warm-up of a network, or None where a model was given.
        store: the folder of a store, whose finished batches need not be made again.
        json: print one JSON value.
    """
    stored = [] if store is None else FolderStore(store).contents()
    if json:
        value = {
            "warm_up_seconds": warm_up,
            "store": [{"sweep": kind, "done": done, "batches": batches} for kind, done, batches in stored],
            "plans": [as_plain(plan) for plan in plans],
        }
        typer.echo(json_.dumps(value, indent=2))
        return
    console = Console(highlight=False)
    if warm_up:
        console.print(f"warm-up of the network first: about {duration(warm_up)}")
    for kind, done, batches in stored:
        console.print(
            f"{store} holds {done:,} of {batches:,} batches of the sweep {kind!r}", soft_wrap=True, markup=False
        )
    for plan in plans:
        console.print(Text.assemble((plan.selector, "bold cyan"), f": {plan.budget:,} of {plan.pool_size:,} examples"))
        if plan.passes:
            console.print(_table(plan))
        console.print(Padding(_last_lines(plan), (0, 0, 0, 2)))
    if len(plans) > 1:
        console.print(SHARED)


def as_plain(plan: Plan) -> dict[str, Any]:
    """Return a plan as values that JSON can hold, with its sums."""
    return {
        **asdict(plan),
        "forward_passes": plan.forward_passes,
        "attack_steps": plan.attack_steps,
        "total_bytes": plan.total_bytes,
        "total_seconds": plan.total_seconds,
    }


def _table(plan: Plan) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2), header_style="dim")
    table.add_column("")
    for name in ("images", "forward passes", "attack steps", "time"):
        table.add_column(name, justify="right")
    for p in plan.passes:
        most = "≤ " if p.at_most else ""
        seconds = (plan.seconds or {}).get(p.part)
        told = "" if seconds is None else duration(seconds)
        steps = f"{most}{p.steps:,}" if p.steps else "0"
        table.add_row(p.part, f"{p.examples:,}", f"{most}{p.forward:,}", steps, told)
    return table


def _last_lines(plan: Plan) -> str:
    lines = []
    if plan.row_passes is not None:
        seconds = (plan.seconds or {}).get("greedy")
        times = "once" if plan.row_passes == 1 else f"{plan.row_passes:,} times"
        lines.append(f"over the rows {times}" + ("" if seconds is None else f", {duration(seconds)}"))
    if plan.products or plan.read:
        seconds = (plan.seconds or {}).get(OWN)
        work = [f"{plan.products:.2g} multiply-adds"] * bool(plan.products) + [f"{size(int(plan.read))} read"] * bool(
            plan.read
        )
        lines.append(f"{OWN}: at most " + " and ".join(work) + ("" if seconds is None else f", {duration(seconds)}"))
    if plan.bytes:
        lines.append("memory: " + ", ".join(f"{what} {size(number)}" for what, number in plan.bytes.items()))
    if plan.total_seconds is not None and plan.timed:
        lines.append(
            f"in all about {duration(plan.total_seconds)}, estimated from {plan.timed:,} images on {plan.device}"
        )
    elif not plan.passes:
        lines.append("no pass through a model")
    return "\n".join([*lines, *(f"note: {note}" for note in plan.notes)])


def duration(seconds: float) -> str:
    """Write seconds as people say them: `45 s`, `12 min`, `3.4 h`, `2.1 days`."""
    for unit, length, least in (("days", 86400.0, 2 * 86400.0), ("h", 3600.0, 2 * 3600.0), ("min", 60.0, 120.0)):
        if seconds >= least:
            number = seconds / length
            return f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def size(count: int) -> str:
    """Write bytes in their largest unit: `5.6 MiB`."""
    number, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if number < 1024:
            break
        number, unit = number / 1024, larger
    return f"{count} bytes" if unit == "bytes" else f"{number:.1f} {unit}"

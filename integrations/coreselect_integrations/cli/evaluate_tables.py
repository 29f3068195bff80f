"""The tables of `coreselect evaluate` on the terminal."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Lay out a result: one line for each measure, then one for each corruption."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("", "accuracy %", "seconds"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    if "standard" in result:
        table.add_row("standard", f"{result['standard']:.2%}"[:-1], "")
    for name in ("pgd20", "margin", "autoattack"):
        if name in result:
            table.add_row(
                f"{name}, l∞ {255 * result['radius']:.4g}/255",
                f"{result[name]['robust']:.2%}"[:-1],
                f"{result[name]['seconds']:.1f}",
            )
    for name, left in result.get("autoattack", {}).get("after", {}).items():
        table.add_row(f"  after {name}", f"{left:.2%}"[:-1], "", style="dim")
    if "neighbours" in result:
        found = result["neighbours"]
        table.add_row(
            f"{found['k']}-NN of {found['n_train']:,}", f"{found['accuracy']:.2%}"[:-1], f"{found['seconds']:.1f}"
        )
    if "corruptions" not in result:
        return [table]
    found = result["corruptions"]
    table.add_row("corruptions, mean", f"{found['mean']:.2%}"[:-1], f"{found['seconds']:.1f}")
    severities = list(next(iter(found["accuracy"].values())))
    each = Table(
        title=f"by corruption and severity, %, of {found['source']}", box=box.SIMPLE_HEAD, title_justify="left"
    )
    each.add_column("", no_wrap=True)
    for column in (*map(str, severities), "mean"):
        each.add_column(column, justify="right", no_wrap=True)
    for name, shares in found["accuracy"].items():
        cells = [*shares.values(), found["by_corruption"][name]]
        each.add_row(name.replace("_", " "), *(f"{100 * share:.1f}" for share in cells))
    each.add_section()
    each.add_row("mean", *(f"{100 * share:.1f}" for share in (*found["by_severity"].values(), found["mean"])))
    return [table, each]

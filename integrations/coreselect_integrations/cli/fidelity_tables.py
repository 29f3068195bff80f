"""The tables of `coreselect fidelity` on the terminal."""

from rich import box
from rich.console import Console
from rich.table import Table

from coreselect_integrations.comparison.fidelity_report import Fidelity

LINEAR = 0.9  # a first-order gain is exact up to η², so ranks agree by more than this


def show(result: Fidelity, step: str, heading: str) -> None:
    """Print a heading and the tables, and a note where the steps are too large for first-order gains."""
    console = Console(highlight=False)
    console.print(heading, soft_wrap=True, markup=False)
    console.print(*_tables(result, step), sep="\n")
    own = result.agreements[0].held
    if own is not None and own < LINEAR:
        why = (
            f"with inputs held, head gains rank the head's own steps by {own:+.2f} only: steps leave the linear range here. "
            f"A smaller --eta than {result.eta:g} stays in it."
        )
        console.print(why, style="yellow")


def _tables(r: Fidelity, step: str) -> list[Table]:
    """Lay out the answers to the three questions, for 80 columns."""
    moved = "head" if step == "head" else "whole model"
    first = _table(
        f"do gains rank {r.groups} groups of {r.group_size} as RD does? (Spearman, η {r.eta:g})",
        ("gain of", "step on", "inputs held", "re-crafted"),
    )
    for a in r.agreements:
        named = f"{a.gains} to {r.sketch:,}" if "sketched" in a.gains else a.gains
        first.add_row(named, a.step, *("–" if c is None else f"{c:+.3f}" for c in (a.held, a.recrafted)))
    second = _table(
        f"G of {r.budget:,} images, step on the {moved} ({r.parameters:,} parameters)",
        ("method", "G", "sds", "seconds"),
    )
    second.add_row(f"{r.sets} random sets", f"{r.random_mean:.5g}", f"±{r.random_sd:.2g}", "", style="bold")
    for w in r.methods:
        second.add_row(w.name, f"{w.g:.5g}", _signed(w.sds), f"{w.seconds:.2f}")
    third = _table(
        "what approximations of rcs cost: gain over random kept, picks in common",
        ("", "G", "sds", "kept %", "same %", "seconds"),
    )
    for c in r.costs:
        kept = "–" if c.kept is None else f"{100 * c.kept:.1f}"
        named = "rcs as set" if c.name == "rcs" else c.name
        third.add_row(named, f"{c.g:.5g}", _signed(c.sds), kept, f"{100 * c.shared:.0f}", f"{c.seconds:.2f}")
    return [first, second, third]


def _signed(sds: float | None) -> str:
    return "–" if sds is None else f"{sds:+.1f}"


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1), title_justify="left", min_width=len(title))
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left", no_wrap=True)
    return table

"""What `coreselect race` prints on stdout: what a race will spend, and how it ended."""

import json as json_
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from coreselect.cli.whole_tables import print_whole
from coreselect_integrations.cli.run_progress import counted, duration
from coreselect_integrations.racing.arms import Arm
from coreselect_integrations.racing.plan import Budget, Cost, sizes_of
from coreselect_integrations.racing.race import Outcome
from coreselect_integrations.racing.ranking import Place, ranking
from coreselect_integrations.racing.report import like_the_winner


def forecast_lines(budget: Budget, costs: Mapping[Arm, Cost], spent: float) -> list[str]:
    """Say what a race will spend: rungs, arms, seconds each, and the last training."""
    sizes = sizes_of(len(costs), budget.halving)
    each, last = budget.expected(sizes, spent)
    found = [
        f"rung {rung + 1}: {counted(arms, 'arm')}, {duration(seconds)} each, {duration(seconds * budget.waves(arms))} in all"
        + (f"; {_epochs(costs, seconds)}" if rung == 0 else "")
        for rung, (arms, seconds) in enumerate(zip(sizes, each, strict=True))
    ]
    told = f"{duration(last)} for the winner"
    if each and last < each[-1]:
        told += ", less than a run of the last rung, whose network is kept if it is longer"
    return [*found, f"last training: {told}; {duration(budget.seconds)} in all"]


def _epochs(costs: Mapping[Arm, Cost], seconds: float) -> str:
    """Say how long the runs of the first rung are."""
    lengths = {arm.name: length.epochs for arm, cost in costs.items() if (length := cost.longest(seconds)) is not None}
    least, most = min(lengths, key=lambda n: lengths[n]), max(lengths, key=lambda n: lengths[n])
    return f"from {counted(lengths[least], 'epoch')} of {least} to {lengths[most]:,} of {most}"


def show_forecast(budget: Budget, costs: Mapping[Arm, Cost], spent: float, *, json: bool) -> None:
    """Print on stdout what a race would spend."""
    if not json:
        typer.echo("\n".join(forecast_lines(budget, costs, spent)))
        return
    sizes = sizes_of(len(costs), budget.halving)
    each, last = budget.expected(sizes, spent)
    rungs = [{"arms": n, "seconds_each": s} for n, s in zip(sizes, each, strict=True)]
    arms = {arm.name: asdict(cost) for arm, cost in costs.items()}
    typer.echo(json_.dumps({"rungs": rungs, "last_seconds": last, "costs": arms}, indent=2))


def show(outcome: Outcome, files: Sequence[Path]) -> None:
    """Print the ranking, what was not distinguishable, and which files were written."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    places = ranking(outcome.records, outcome.winner.name) if outcome.records else []
    if places:
        print_whole(_table(places))
        console.print()
        console.print(_verdict(places, outcome.final["n"] or places[0].rung))
    final = outcome.final
    early = ", ended early to keep the time" if final["cut"] else ""
    if "kept" in final:
        early += f", kept from {final['kept']}, as what was left of the hours was too short for a longer training"
    console.print(
        f"{outcome.winner.name}, {counted(final['done'], 'epoch')} in {duration(final['seconds'])}{early}: "
        f"{final['standard']:.1%}, attacked {final['robust']:.1%} ± {100 * _error(final):.1f} on {final['n']:,} held-out images; "
        f"the race took {duration(outcome.seconds)}"
    )
    for path in files:
        console.print(f"wrote {path}")


def _error(record: Mapping[str, Any]) -> float:
    return (record["robust"] * (1 - record["robust"]) / record["n"]) ** 0.5


def _table(places: Sequence[Place]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    for name in ("arm", "rung", "std %", "robust %", "behind", "p", "time"):
        table.add_column(name, justify="left" if name == "arm" else "right", no_wrap=True)
    for rank, o in enumerate(places):
        if o.robust is None or o.standard is None:
            table.add_row(o.arm, str(o.rung + 1), "failed")
            continue
        table.add_row(
            o.arm + " *" * (o.cut is not None), str(o.rung + 1), f"{100 * o.standard:.1f}",
            f"{100 * o.robust:.1f} ± {100 * o.error:.1f}",
            "" if not rank else f"{100 * o.behind:.1f} ± {100 * o.behind_error:.1f}", "" if o.p is None else f"{o.p:.2g}",
            duration(o.seconds), style="bold" if not rank else None,
        )  # fmt: skip
    return table


def _verdict(places: Sequence[Place], n: int) -> str:
    """Say how to read the table, and which arms cannot be told from the winner."""
    alike = like_the_winner(places)
    said = (
        f"behind: points of robust accuracy behind the winner, at equal time in the last rung of each arm, on the same {n:,} "
        "images; p: sign test, corrected by Holm. Spreads are those of the images, not of seeds.\n"
    )
    early = [f"{o.arm} ({o.cut})" for o in places if o.cut is not None]
    if early:
        said += f"* ended early to keep the time: {'; '.join(early)}.\n"
    if not alike:
        judged = sum(o.robust is not None for o in places)
        return said + (
            "every other arm is distinguishable from the winner." if judged > 1 else "no other arm was judged."
        )
    return f"{said}not distinguishable from the winner: {', '.join(alike)}."

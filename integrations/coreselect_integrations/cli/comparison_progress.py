"""The progress of a comparison on stderr: a line for each cell, and bars as well on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from coreselect.support.progress import Report, lines
from coreselect_integrations.cli.run_progress import duration
from coreselect_integrations.comparison.page import name_of
from coreselect_integrations.comparison.plan import Cell


class ComparisonProgress:
    """Show a comparison while the block runs. `began`, `ended` and the object itself are what `Runtime` takes.

    The time that is left is that of the cells to come, if they are like those that have run, in as many `processes` at once.
    """

    def __init__(self, *, quiet: bool = False, processes: int = 1) -> None:
        self.quiet, self.since, self.processes = quiet, 0.0, processes
        self.to_come, self.spent = 0, list[float]()
        self.line: Report | None = None  # in a log; bars say it on a terminal
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), TextColumn("{task.fields[said]}"))
        self.bars = Progress(*columns, TimeElapsedColumn(), console=self.console, disable=not self.console.is_terminal)
        self.all = self.bars.add_task("cells", total=None, said="")
        self.part = self.bars.add_task("", total=None, said="", visible=False)

    def __enter__(self) -> Self:
        self.line = None if self.console.is_terminal or self.quiet else lines(self.console)
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None) -> None:
        self.bars.update(self.part, visible=False)
        self.bars.stop()

    def __call__(self, part: str, done: int, total: int) -> None:
        if self.line is not None:
            self.line(part, done, total)
        said = f"{done:,} of {total:,}"
        self.bars.update(self.part, description=part, completed=done, total=total, said=said, visible=True)

    def began(self, cell: Cell, done: int, total: int) -> None:
        """Show which cell runs."""
        self.since, self.to_come = perf_counter(), total - done - 1
        self.bars.update(self.all, description=cell.name, completed=done, total=total, said=f"{done} of {total}")

    def ended(self, record: Mapping[str, Any], fresh: bool) -> None:
        """Print the line of a cell that ran or failed; a cell that was finished before has none."""
        if record["error"] is not None:
            self.console.print(f"{name_of(record)} failed: {record['error']}", style="red", markup=False)
        elif fresh and not self.quiet:
            found = [
                ("" if judged == "trained" else f"{judged} ") + f"{a['standard']:.1%}, attacked {a['robust']:.1%}"
                for judged, a in record["accuracy"].items()
            ]
            self.spent.append(perf_counter() - self.since)
            left = self.to_come * sum(self.spent) / len(self.spent) / self.processes
            more = f", about {duration(left)} left" if self.to_come else ""
            self.console.print(f"{name_of(record)}: {'; '.join(found)}; {duration(self.spent[-1])}{more}", markup=False)

"""The progress of a race on stderr: a live table of its arms on a terminal, and in a log a line for each run."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from coreselect.support.progress import Report, lines
from coreselect_integrations.cli.run_progress import counted, duration

SHOWN = 24  # lines of the table at most: those of the last rungs


class RaceProgress:
    """Show a race while the block runs; `planned`, `began`, `ended` and the object itself are what `Place` takes."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.line: Report | None = None  # in a log; the table says it on a terminal
        self.rows: dict[tuple[int | None, str], dict[str, Any]] = {}
        self.now = ""
        self.live = Live(console=self.console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        else:
            self.line = lines(self.console)
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None) -> None:
        if self.console.is_terminal:
            self.live.stop()
            self.console.print(self.table())

    def __call__(self, part: str, done: int, total: int) -> None:
        self.now = f"{part}: {done:,} of {total:,}"
        if self.line is not None:
            self.line(part, done, total)
        self._show()

    def planned(self, rung: int, plan: Mapping[str, Any]) -> None:
        """Show the runs of a rung."""
        told = next(iter(plan.values()))
        said = f"rung {rung + 1}: {counted(len(plan), 'arm')}, about {duration(told['seconds'])} each"
        self._say(said)
        for name, own in plan.items():
            self.rows[rung, name] = {"epochs": own["length"]["epochs"], "state": ""}
        self._show()

    def began(self, rung: int | None, name: str) -> None:
        """Show which run has begun."""
        self.rows.setdefault((rung, name), {"epochs": None})["state"] = "runs"
        if rung is None:
            self._say(f"last training: {name}")
        self._show()

    def ended(self, record: Mapping[str, Any]) -> None:
        """Show what a run ended with."""
        self.rows[record["rung"], record["arm"]] = {**record, "state": "ended early" if record["cut"] else "done"}
        where = "last training" if record["rung"] is None else f"rung {record['rung'] + 1}"
        if record["error"] is not None:
            self.rows[record["rung"], record["arm"]]["state"] = "failed"
            self._say(f"{where}: {record['arm']} failed: {record['error']}", style="red")
        else:
            early = ", ended early" if record["cut"] else ""
            self._say(
                f"{where}: {record['arm']}: {record['standard']:.1%}, attacked {record['robust']:.1%}; "
                f"{counted(record['done'], 'epoch')}, {duration(record['seconds'])}{early}"
            )
        self._show()

    def table(self) -> Table:
        """Return the table of the last runs."""
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
        for name in ("rung", "arm", "epochs", "time", "standard", "robust", ""):
            table.add_column(name, justify="left" if name in ("arm", "") else "right")
        for (rung, name), row in list(self.rows.items())[-SHOWN:]:
            judged = row.get("robust") is not None
            table.add_row(
                "last" if rung is None else str(rung + 1), Text(name), "" if row["epochs"] is None else str(row["epochs"]),
                duration(row["seconds"]) if "seconds" in row else "", f"{row['standard']:.1%}" if judged else "",
                f"{row['robust']:.1%}" if judged else "", row["state"], style="bold" if row["state"] == "runs" else None,
            )  # fmt: skip
        return table

    def _say(self, words: str, style: str | None = None) -> None:
        """Print a line in a log; on a terminal the table says it, but for errors."""
        if not self.console.is_terminal or style is not None:
            self.console.print(words, style=style, markup=False)

    def _show(self) -> None:
        if self.console.is_terminal:
            self.live.update(Group(self.table(), Text(self.now, style="dim")), refresh=True)

"""Progress on stderr: bars with rate and time left on a terminal; in a log a line after some seconds, then every half minute."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Report = Callable[[str, int, int], None]  # (part, done, total)
EVERY = 30.0  # seconds between lines in a log
FIRST = 5.0  # seconds until the first line of a part: soon enough to stop what would take too long


class _Rate(ProgressColumn):
    """Examples per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="dim")


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Report]:
    """Yield a callable (part, done, total) that reports on stderr while the block runs; a quiet one reports nothing."""
    console = Console(stderr=True, highlight=False, quiet=quiet)
    if quiet or not console.is_terminal:
        yield lines(console)
        return
    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        tasks = {}

        def report(part: str, done: int, total: int) -> None:
            if part not in tasks:
                tasks[part] = bar.add_task(part, total=total)
            elif done <= bar.tasks[tasks[part]].completed:
                bar.reset(tasks[part], total=total)  # the part runs again
            bar.update(tasks[part], completed=done, total=total)

        yield report


def lines(console: Console) -> Report:
    """Report in lines: for each part one after `FIRST` seconds, and then at most one in `EVERY` seconds."""
    began: dict[str, tuple[float, int]] = {}
    last: dict[str, int] = {}
    said: dict[str, float] = {}

    def report(part: str, done: int, total: int) -> None:
        now = time.monotonic()
        if part not in last or done <= last[part]:  # a part that runs again is timed again
            began[part], said[part] = (now, done), now if part in last else now + FIRST - EVERY
        last[part] = done
        since, first = began[part]
        if now - said[part] < EVERY or done in (first, total):
            return
        said[part] = now
        rate = (done - first) / (now - since)
        console.print(f"{part}: {done:,} of {total:,}, {rate:,.0f}/s, {(total - done) / rate:,.0f} s left")

    return report

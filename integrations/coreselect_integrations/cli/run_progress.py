"""The progress of a run on stderr: a line for each epoch, and bars as well on a terminal."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from textwrap import fill
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from coreselect.support.progress import FIRST, Report, lines
from coreselect_integrations.training.runs import LOG


class RunProgress:
    """Show a run of `epochs` epochs while the block runs.

    Call the object with (part, done, total) while an epoch runs, and call `ended` with the record of each epoch: its
    `epoch` from 0, `loss`, `accuracy` in [0, 1] or None, `lr`, `seconds`, and `select_seconds` and `trouble` if there are
    any. A warning is shown in full the first time; later ones that differ in numbers only are counted. `count` is the
    number of epochs that have ended.
    """

    def __init__(self, epochs: int, *, quiet: bool = False) -> None:
        self.epochs, self.console = epochs, Console(stderr=True, highlight=False, quiet=quiet)
        columns = (TextColumn("{task.description:<10}"), BarColumn(bar_width=24), TextColumn("{task.fields[said]}"))
        self.bars = Progress(*columns, TimeElapsedColumn(), console=self.console, disable=not self.console.is_terminal)
        self.run = self.bars.add_task("epochs", total=epochs, said="")
        self.part = self.bars.add_task("", total=None, said="", visible=False)
        self.line: Report | None = None  # in a log; bars say it on a terminal
        self.began: tuple[str, float, int] | None = (
            None  # the first epoch of this run: its name, when and where it was first seen
        )
        self.spent: list[float] = []
        self.known: set[str] = set()

    def __enter__(self) -> Self:
        self.line = None if self.console.is_terminal else lines(self.console)
        self.bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, why: BaseException | None, at: TracebackType | None) -> None:
        self.bars.update(self.part, visible=False)
        self.bars.update(self.run, visible=bool(self.spent))
        self.bars.stop()

    def __call__(self, part: str, done: int, total: int) -> None:
        self._estimate(part, done, total)
        if self.line is not None:
            self.line(part, done, total)
        said = f"{done:,} of {total:,}"
        self.bars.update(self.part, description=part, completed=done, total=total, said=said, visible=True)

    def _estimate(self, part: str, done: int, total: int) -> None:
        """Say once, some seconds into the first epoch, how long the run takes if every epoch is like this one."""
        if self.spent or not part.startswith("epoch ") or self.epochs == 1:
            return
        now = time.monotonic()
        if self.began is None:
            self.began = part, now, done
        first, since, at = self.began
        if first == part and now - since >= FIRST and done > at:
            left = (now - since) / (done - at) * total * (self.epochs + 1 - int(part.split()[1]))
            self.console.print(
                f"{part} suggests about {duration(left)} for the run, if every epoch is like it", soft_wrap=True
            )
            self.began = "", now, done

    @property
    def count(self) -> int:
        """The number of epochs that have ended since this object was made."""
        return len(self.spent)

    def ended(self, record: Mapping[str, Any]) -> None:
        """Print the line of an epoch that ended, with the time that is left."""
        n = record["epoch"] + 1
        self.spent.append(record["seconds"] + record.get("select_seconds", 0.0))
        left = f", {duration(self.left(n))} left" if n < self.epochs else ""
        self.bars.update(self.run, completed=n, said=f"{n} of {self.epochs}{left}")
        self.console.print(epoch_line(record, self.epochs) + left, soft_wrap=True)
        if "back" in record:
            self._warn(record["back"])
        told = {r["said"] for r in record.get("returned", ())}
        kinds = {
            re.sub(r"[-+]?\d[\d.,e+-]*", "#", words): words for words in record.get("trouble", ()) if words not in told
        }
        new = [words for kind, words in kinds.items() if kind not in self.known]
        if len(new) < len(kinds):
            again = len(kinds) - len(new)
            new.append(f"{again} sign{'s' * (again != 1)} of trouble as before: numbers in {LOG}")
        for words in new:
            self._warn(words)
        self.known |= kinds.keys()

    def _warn(self, words: str) -> None:
        shown = fill(words, self.console.width, initial_indent="  ", subsequent_indent="  ")
        self.console.print(shown, style="yellow", soft_wrap=True, markup=False)

    def left(self, done: int) -> float:
        """Return the seconds that the epochs after the first `done` will take, if they are like the last ten."""
        last = self.spent[-10:]
        return (self.epochs - done) * sum(last) / max(1, len(last))


def epoch_line(record: Mapping[str, Any], epochs: int) -> str:
    """Write the record of an epoch in one line of at most 80 columns."""
    loss = record["loss"]
    shown = f"{loss:.4f}" if abs(loss) < 1e4 else f"{loss:.3g}"
    words = [f"epoch {record['epoch'] + 1} of {epochs}: loss {shown}"]
    if record.get("accuracy") is not None:
        words.append(f"{record['accuracy']:.1%} right")
    if record.get("probe") is not None:
        words.append(f"probe SA {record['probe']['standard']:.1%} RA {record['probe']['robust']:.1%}")
    if record.get("guard") is not None:
        words[-1] += f" ({record['guard']['multi_step']:.0%} held out)"
    words.append(f"lr {record['lr']:.3g}")
    seconds = f"{record['seconds']:.1f} s"
    if record.get("select_seconds", 0.0) >= 0.05:
        seconds += f" + {record['select_seconds']:.1f} s selecting"
    return ", ".join([*words, seconds])


def duration(seconds: float) -> str:
    """Write a time in its two largest units: `2 h 05 min`, `3 min 20 s`, `17 s`, `0.4 s`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = math.ceil(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"


def counted(n: int, what: str) -> str:
    """Write a number with its noun: `1 epoch`, `1,442 images`."""
    return f"{n:,} {what}{'s' * (n != 1)}"

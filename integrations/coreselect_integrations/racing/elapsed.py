"""The time that a race has taken: the length of the union of the sessions in which a process worked on it.

Each process writes the beginning and the last sign of life of its session into a file of its own. So time in which nobody works
does not count, time in which several do counts once, and what a killed process spent is known up to a few seconds.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from coreselect_integrations.comparison.cell_files import write_json
from coreselect_integrations.racing.record_checks import believed, why_no_session

SESSIONS = "sessions"
WAY = "remove it, and its seconds no longer count"
BEAT = 5.0  # seconds between two signs of life


def union_length(spans: Iterable[tuple[float, float]]) -> float:
    """Return the length of the union of intervals [begin, end]."""
    total, reached = 0.0, float("-inf")
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


class Elapsed:
    """The clock of a race, as one of its processes sees it.

    Args:
        folder: of the race.
        clock: seconds since any fixed moment that all processes share.
    Raises:
        DataError: the file of another session is damaged.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        self.folder, self.clock, self.began = folder / SESSIONS, clock, clock()
        self._mine = self.folder / f"{secrets.token_hex(8)}.json"
        self._written = float("-inf")
        self._others()
        self.beat()

    def beat(self) -> None:
        """Give a sign of life, if the last one is old."""
        now = self.clock()
        if now - self._written >= BEAT:
            self.close()

    def close(self) -> None:
        """Give a sign of life now."""
        self._written = self.clock()
        write_json(self._mine, {"began": self.began, "last": self._written})

    @property
    def seconds(self) -> float:
        """The time that the race has taken until now."""
        return union_length([*self._others(), (self.began, max(self.began, self.clock()))])

    def _others(self) -> list[tuple[float, float]]:
        """Read when the other processes have worked."""
        others = [believed(p, why_no_session, WAY) for p in self.folder.glob("*.json") if p != self._mine]
        return [(o["began"], o["last"]) for o in others]

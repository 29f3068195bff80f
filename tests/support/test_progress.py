"""Progress in a log: a line soon and then every half minute, with the rate of the sweep that is running."""

import io

import pytest
from rich.console import Console

from coreselect.support import progress as module
from coreselect.support.progress import EVERY, FIRST, progress


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> tuple[io.StringIO, list[float]]:
    """A stderr that is no terminal, and the clock that progress reads."""
    text, now = io.StringIO(), [0.0]
    monkeypatch.setattr(module, "Console", lambda **_: Console(file=text, width=200))
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return text, now


def test_a_line_says_rate_and_time_left(log: tuple[io.StringIO, list[float]]) -> None:
    """200 in 40 s after the first report are 5 a second, and 700 are left."""
    text, now = log
    with progress() as report:
        report("attack", 100, 1000)
        now[0] = FIRST - 1
        report("attack", 120, 1000)
        now[0] = 40.0
        report("attack", 300, 1000)
    assert text.getvalue() == "attack: 300 of 1,000, 5/s, 140 s left\n"


def test_a_first_line_comes_soon_and_others_at_a_bounded_rate(log: tuple[io.StringIO, list[float]]) -> None:
    """The first line comes once some seconds have passed, the next half a minute later, however often is reported."""
    text, now = log
    with progress() as report:
        for second in range(int(FIRST + 2 * EVERY)):
            now[0] = second
            report("sweep", 10 * second, 1000)
    assert [line.split(" of ")[0] for line in text.getvalue().splitlines()] == ["sweep: 50", "sweep: 350"]


def test_a_part_that_runs_again_is_timed_anew(log: tuple[io.StringIO, list[float]]) -> None:
    """An hour between two sweeps does not count for the second, although both begin with the same number of examples."""
    text, now = log
    with progress() as report:
        report("attack", 100, 1000)
        report("attack", 1000, 1000)
        now[0] = 3600.0
        report("attack", 100, 1000)
        now[0] = 3640.0
        report("attack", 300, 1000)
    assert text.getvalue() == "attack: 300 of 1,000, 5/s, 140 s left\n"


def test_many_small_sweeps_are_no_part_of_the_large_one_after_them(log: tuple[io.StringIO, list[float]]) -> None:
    """Each sweep begins at 0 and ends at its own total."""
    text, now = log
    with progress() as report:
        for start in range(0, 600, 60):
            now[0] = start
            report("sweep", 0, 64)
            now[0] = start + 8.0
            report("sweep", 64, 64)
        now[0] = 600.0
        report("sweep", 0, 1000)
        now[0] = 640.0
        report("sweep", 400, 1000)
    assert text.getvalue() == "sweep: 400 of 1,000, 10/s, 60 s left\n"

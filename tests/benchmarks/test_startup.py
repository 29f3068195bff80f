"""Claims about the start-up benchmark: it counts the child that it names, and a slow start is seen. Nothing is timed."""

from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks import run, startup
from benchmarks.cases import CASES, StartupCase

CASE = StartupCase(runs=2)


def costs(**seconds: float) -> Any:
    """A clock that takes so many processor seconds for each command, and a tenth more at every further run."""
    ran: list[str] = []

    def cpu(words: Sequence[str]) -> float:
        name = next((n for n, known in startup.COMMANDS.items() if tuple(words) == known), "python")
        ran.append(name)
        return seconds.get(name, 0.1) + (0.1 * ran.count(name) if ran.count(name) > 1 else 5.0)

    return cpu


def test_the_smallest_run_counts_and_the_first_does_not() -> None:
    """The first writes caches (5 s here); of the others the smaller is judged and the median kept beside it."""
    found = startup.run(CASE, costs(help=0.15))
    assert found["cpu_seconds"] == pytest.approx({
        "python": 0.3, "import": 0.3, "version": 0.3, "help": 0.35, "methods": 0.3, "select_help": 0.3,
    })  # fmt: skip
    assert found["median_cpu_seconds"]["help"] == pytest.approx(0.4)


@pytest.mark.parametrize("name", startup.COMMANDS)
def test_a_slow_start_is_seen(name: str) -> None:
    """Every command has a threshold of its own, and two seconds do not hold."""
    result = run.to_result("startup-small", CASE, startup.run(CASE, costs(**{name: 2.0})), None, {})
    assert [t["measure"] for t in result["thresholds"] if not t["passed"]] == [f"cpu_seconds.{name}"]
    assert run.to_result("startup-small", CASE, startup.run(CASE, costs()), None, {})["passed"]


def test_the_children_are_run_and_one_that_fails_is_an_error() -> None:
    """A child's seconds are not negative; an exit code other than 0 is no measure."""
    assert startup.cpu_seconds(startup.COMMANDS["version"]) >= 0.0
    with pytest.raises(RuntimeError, match=r"ended with 1: .*no luck"):
        startup.cpu_seconds(("-c", "raise SystemExit('no luck')"))


def test_both_declared_cases_hold_the_promise() -> None:
    """0.4 processor seconds for each command, and 0.6 for the longest help."""
    for name in ("startup-small", "startup-full"):
        assert {(t.measure, t.rule, t.bound) for t in CASES[name].thresholds} == {
            (f"cpu_seconds.{command}", "at most", 0.6 if command == "select_help" else 0.4)
            for command in startup.COMMANDS
        }

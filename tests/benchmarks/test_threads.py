"""Claims about the threads benchmark: the slowest method counts, other picks are seen, and a child measures every method."""

from typing import Any

import pytest

from benchmarks import run, threads
from benchmarks.case_types import ThreadsCase

CASE = ThreadsCase(pool=300, budget=12, width=8, clusters=3, rounds=2)


def child(slow: float = 1.0, other: int = 0) -> Any:
    """A process in which "b" takes `slow` times as long by all cores, with another first pick there; later turns are slower."""
    turns: list[int | None] = []

    def measured(case: ThreadsCase, count: int | None) -> threads.Measured:
        late = float(turns.count(count))
        turns.append(count)
        many = count is None
        return {"a": (0.5 + late, [1, 2]), "b": ((slow if many else 1.0) + late, [other if many else 0, 3])}

    return measured


def test_the_slowest_method_is_judged_by_its_fastest_turns() -> None:
    """The ratio is that of the method which loses most, named with the others."""
    found = threads.run(CASE, child(slow=5.0))
    assert found["ratio"] == pytest.approx(5.0)
    assert found["ratios"] == {"a": 1.0, "b": 5.0}
    assert found["seconds"]["b"] == {"all cores": 5.0, "one thread": 1.0}


@pytest.mark.parametrize(("more", "missed"), [({}, []), ({"slow": 1.5}, ["ratio"]), ({"other": 7}, ["same"])])
def test_threads_that_wait_and_other_picks_do_not_hold(more: dict[str, Any], missed: list[str]) -> None:
    """1.5 times the time by more cores, or picks that depend on their number, fail the case."""
    result = run.to_result("threads-small", CASE, threads.run(CASE, child(**more)), None, {})
    assert [t["measure"] for t in result["thresholds"] if not t["passed"]] == missed


def test_a_child_measures_every_method() -> None:
    """Each has seconds and as many picks as were asked for; the first 12 of the moving query are 12 rows."""
    pytest.importorskip("faiss")
    found = threads.here(CASE)
    assert set(found) == {"greedy", *threads.METHODS}
    assert all(seconds > 0 and len(set(picks)) == 12 for seconds, picks in found.values())


@pytest.mark.slow
def test_a_child_is_a_process_with_so_many_threads() -> None:
    """It starts, and its picks are those of this process."""
    assert threads.in_own_process(CASE, 1)["k_center"][1] == threads.here(CASE)["k_center"][1]

"""Claims about the comparison with other libraries: the hardest rival counts, and every side is watched from outside."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import facility, points, run, sides
from benchmarks.case_types import FacilityCase
from benchmarks.cases import CASES
from benchmarks.facility import BESIDE, OURS, RIVALS, Run
from coreselect.errors import MissingExtraError
from coreselect.selectors import FacilityLocation

MIB = 1 << 20
CASE = FacilityCase(pool=200, budget=12, form="graph", width=8, clusters=5, rounds=2, thresholds=())


def told(seconds: float = 1.0, mib: float = 100.0) -> Run:
    return Run([0], seconds, seconds / 2, int(mib * MIB), "1")


def one_round(**told_of: Run) -> dict[str, Run]:
    return {name: told_of.get(name, told(8.0, 400.0)) for name in (*OURS, *RIVALS, *BESIDE)}


def objective(**told_of: float) -> dict[str, float]:
    return {name: told_of.get(name, 100.0) for name in (*OURS, *RIVALS, *BESIDE)}


def test_the_fastest_the_smallest_and_the_best_rival_count() -> None:
    """Each measure takes the rival that makes it hardest, whichever that is; those beside do not count."""
    rounds = [
        one_round(
            graph=told(2.0, 50.0), dense=told(4.0, 300.0), apricot=told(6.0, 800.0), submodlib_kernel=told(9.0, 250.0),
            apricot_graph=told(0.1, 1.0),
        )
    ]  # fmt: skip
    got = facility.compare(CASE, rounds, objective(graph=99.0, submodlib=102.0))
    assert got["ratio"] == got["cpu_ratio"] == 3.0
    assert got["memory_share"] == pytest.approx(50 / 250)
    assert got["objective_ratio"] == pytest.approx(99 / 102)
    assert got["forms"]["dense"] == pytest.approx(
        {"ratio": 1.5, "cpu_ratio": 1.5, "objective_ratio": 100 / 102, "memory_share": 1.2}
    )


def test_rounds_give_the_median_of_seconds_and_the_largest_peak() -> None:
    """One slow round changes nothing, one large peak does."""
    rounds = [one_round(graph=told(s, m)) for s, m in ((2.0, 10.0), (50.0, 80.0), (2.0, 10.0))]
    got = facility.compare(CASE, rounds, objective())
    assert got["seconds"]["graph"] == 2.0
    assert got["peak_mib"]["graph"] == 80.0
    assert got["ratio_by_round"] == [4.0, 0.16, 4.0]


@pytest.mark.parametrize("name", ["ratio", "cpu_ratio", "objective_ratio", "memory_share"])
def test_every_promise_can_fail(name: str) -> None:
    """Each of the full case's four thresholds fails alone, and holds at its bound."""
    case = CASES["facility-full"]
    held = {"ratio": 2.0, "cpu_ratio": 2.0, "objective_ratio": 0.995, "memory_share": 0.2}
    assert run.to_result("facility-full", case, held, None, {})["passed"]
    worse = {**held, name: held[name] + (0.01 if name == "memory_share" else -0.01)}
    assert not run.to_result("facility-full", case, worse, None, {})["passed"]


@pytest.mark.parametrize("name", ["facility-small", "facility-full"])
def test_the_judged_form_is_the_one_that_a_user_gets(name: str) -> None:
    """`form` is what `FacilityLocation()` does at that size, with as many neighbours as it takes by default."""
    case = CASES[name]
    assert isinstance(case, FacilityCase)
    assert case.form == ("dense" if case.pool <= FacilityLocation().dense_up_to else "graph")
    assert FacilityLocation().neighbours == sides.NEIGHBOURS


def test_both_forms_of_ours_run_in_processes_of_their_own(tmp_path: Path) -> None:
    """Sides answer with as many different picks as asked for; f of the dense ones is plain greedy's."""
    x = points.mixture(CASE.pool, CASE.width, CASE.clusters, CASE.seed)
    np.save(tmp_path / "x.npy", x)
    got = facility.one("dense", tmp_path / "x.npy", 12, sys.executable)
    assert len(set(got.picks)) == 12
    assert points.coverage(x, got.picks) == pytest.approx(points.coverage(x, points.greedy(x, 12)))
    assert got.seconds > 0


def test_our_neighbour_graph_covers_nearly_as_well() -> None:
    """f of the graph's picks is plain greedy's to half a per cent."""
    x = points.mixture(400, 8, 5, 3)
    plain = points.coverage(x, points.greedy(x, 40))
    assert points.coverage(x, sides.graph(x, 40)) >= 0.995 * plain


def test_the_matrix_that_rivals_are_given_is_the_formulas() -> None:
    """s = (1 + cos)/2 in the type asked for."""
    x = points.mixture(30, 5, 3, 0)
    z = points.directions(x)
    for dtype, close in ((np.float32, 1e-6), (np.float64, 1e-12)):
        s = sides._matrix(x, dtype)
        assert s.dtype == dtype
        assert s == pytest.approx((1 + z @ z.T) / 2, abs=close)


def stand_in(tmp_path: Path, body: str) -> str:
    """Return an interpreter that behaves as told, whatever it is asked to run."""
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\nimport sys, json\n{body}\n", encoding="utf-8")
    program.chmod(0o755)
    return str(program)


def test_memory_is_watched_from_outside_and_only_between_ready_and_answer(tmp_path: Path) -> None:
    """40 MiB taken before "ready" are not counted, 64 MiB taken and dropped after it are."""
    if not Path("/proc/self/status").is_file():
        pytest.skip("only Linux shows another process's memory")
    body = """
before = bytearray(b"1") * (40 << 20)
print("ready", flush=True)
sys.stdin.readline()
block = bytearray(b"1") * (64 << 20)
import time; time.sleep(0.1)
del block
print(json.dumps({"picks": [1], "seconds": 0.5, "cpu_seconds": 0.25, "version": "9"}), flush=True)
sys.stdin.readline()
"""
    got = facility.one("apricot", tmp_path / "x.npy", 1, stand_in(tmp_path, body))
    assert 60 * MIB <= got.peak <= 100 * MIB
    assert (got.seconds, got.cpu_seconds, got.version) == (0.5, 0.25, "9")


def test_an_interpreter_without_the_rivals_says_how_to_get_them(tmp_path: Path) -> None:
    """A missing module, a missing interpreter and no interpreter each end in a sentence with the commands."""
    bare = stand_in(tmp_path, "sys.exit(\"ModuleNotFoundError: No module named 'apricot'\")")
    for rivals in (bare, str(tmp_path / "nowhere")):
        with pytest.raises(MissingExtraError, match=r"pip install apricot-select==0\.6\.1 submodlib-py==0\.0\.3"):
            facility.one("apricot", tmp_path / "x.npy", 1, rivals)
    with pytest.raises(MissingExtraError, match=r"give --rivals PYTHON"):
        facility.run(CASE, rivals=None, work=tmp_path)


@pytest.mark.parametrize(
    ("body", "said"),
    [("raise ValueError('no')", "did not start: ValueError: no"), ("print('ready', flush=True)", "no answer")],
)
def test_a_side_that_dies_is_an_error(body: str, said: str, tmp_path: Path) -> None:
    """Before it is ready, or after."""
    with pytest.raises(RuntimeError, match=said):
        facility.one("apricot", tmp_path / "x.npy", 1, stand_in(tmp_path, body))


def test_a_process_that_is_gone_holds_nothing() -> None:
    """Its memory is 0, and this one's is not."""
    assert facility.held_by(0) == 0
    if Path("/proc/self/status").is_file():
        assert facility.held_by(os.getpid()) > 0


def test_a_case_runs_its_rounds_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every side once a round, every other round backwards, the features' file removed."""
    seen: list[str] = []

    def run_one(name: str, path: Path, k: int, rivals: str) -> Run:
        assert np.load(path).shape == (CASE.pool, CASE.width)
        seen.append(name)
        return Run(list(range(k)), 1.0, 1.0, MIB, "1")

    monkeypatch.setattr(facility, "one", run_one)
    result = facility.run(CASE, rivals="python", work=tmp_path)
    names = [*RIVALS, *BESIDE, *OURS]
    assert seen == names + names[::-1]
    assert result["objective_ratio"] == 1.0
    assert list(tmp_path.iterdir()) == []


def test_the_runner_passes_the_rivals_on_and_publishes_no_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A case in a process of its own gets the same interpreter, whose path is not in the record."""
    words: list[list[str]] = []

    def seen(command: list[str], **_: Any) -> Any:
        words.append(command)
        return type("Done", (), {"returncode": 1, "stdout": ""})()

    monkeypatch.setattr(run.subprocess, "run", seen)
    monkeypatch.setattr(run.environment, "environment", dict)
    python = str(tmp_path / "bin" / "python")
    run.main(["--case", "facility-small", "facility-full", "--rivals", python])
    assert all(command[command.index("--rivals") + 1] == python for command in words)
    monkeypatch.undo()
    capsys.readouterr()
    assert run.main(["--case", "facility-small", "--rivals", python, "--work", str(tmp_path)]) == 1
    result = json.loads(capsys.readouterr().out)
    assert "give --rivals PYTHON" in result["error"] or "did not start" in result["error"]
    assert str(tmp_path) not in json.dumps(result)

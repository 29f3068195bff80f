"""Claims about the runner: thresholds can fail, failures are results, exit codes tell, no folder is published."""

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import run
from benchmarks.case_types import Case, Threshold
from benchmarks.cases import CASES, SETS


def measures(value: float) -> Callable[[Case, Namespace], dict[str, Any]]:
    """A benchmark that measures what it is told, everything else as it should be."""
    fine = {"quality": 1.0, "largest_difference_of_losses": 0.0, "right_picks": 1.0}
    return lambda case, args: {"ratio": value, **fine}


@pytest.mark.parametrize(
    ("threshold", "good", "bad"),
    [(Threshold("ratio", "at most", 1.15), 1.15, 1.1501), (Threshold("ratio", "at least", 3.0), 3.0, 2.999)],
)
def test_a_threshold_holds_on_its_own_side_only(threshold: Threshold, good: float, bad: float) -> None:
    """The bound itself holds, anything beyond it does not."""
    assert threshold.holds(good)
    assert not threshold.holds(bad)


@pytest.mark.parametrize("rule", ["at most", "at least"])
def test_what_is_not_a_number_never_holds(rule: Any) -> None:
    """Neither a missing measure nor NaN passes, whatever the rule."""
    assert not Threshold("ratio", rule, 1.0).holds(None)
    assert not Threshold("ratio", rule, 1.0).holds(float("nan"))


@pytest.mark.parametrize(("value", "code", "passed"), [(1.02, 0, True), (1.3, 1, False)])
def test_the_exit_code_tells_and_the_line_is_kept(
    value: float,
    code: int,
    passed: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One JSON line on stdout and in the file, talk on stderr, exit code 1 where a threshold does not hold."""
    monkeypatch.setattr(run, "measured", measures(value))
    out = tmp_path / "folder" / "results.jsonl"
    assert run.main(["--case", "sweep-small", "--out", str(out)]) == code
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert out.read_text(encoding="utf-8") == said.out
    assert result["passed"] is passed
    judged = {"measure": "ratio", "rule": "at most", "bound": 1.15, "value": value, "passed": passed}
    assert judged in result["thresholds"]
    assert result["settings"]["pool"] == 512
    assert result["environment"]["versions"]["torch"]
    assert ("passed" if passed else "FAILED") in said.err


def test_results_are_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run adds a line and loses none."""
    monkeypatch.setattr(run, "measured", measures(1.0))
    out = tmp_path / "results.jsonl"
    run.main(["--case", "sweep-small", "--out", str(out)])
    run.main(["--case", "sampler-full", "--out", str(out)])
    assert [json.loads(line)["case"] for line in out.read_text().splitlines()] == ["sweep-small", "sampler-full"]


def test_a_failed_case_is_a_result(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What a benchmark raises is recorded, without folders, no threshold holds, and the exit code is 1."""

    def fails(case: Case, args: Namespace) -> dict[str, Any]:
        raise MemoryError(f"no room for {Path.cwd()}/rows and {args.data}/images")

    monkeypatch.setattr(run, "measured", fails)
    assert run.main(["--case", "selection-small", "--data", "/somewhere/else"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["error"] == "MemoryError: no room for ./rows and DATA/images"
    assert not result["passed"]
    assert [t["passed"] for t in result["thresholds"]] == [False, False]


def test_a_measure_that_is_not_a_number_is_null_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """NaN is written as null, so the line stays JSON."""
    monkeypatch.setattr(run, "measured", measures(float("nan")))
    assert run.main(["--case", "sweep-small"]) == 1
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["ratio"] is None


def test_missing_data_is_one_failed_result_that_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without images the case fails with a sentence."""
    assert run.main(["--case", "sweep-small", "--data", str(tmp_path)]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error.startswith("DataError: no CIFAR-10 images: give --data DIR")
    assert str(tmp_path) not in error


def test_of_several_cases_those_without_data_or_rivals_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They give no result and no traceback; the last lines say once what to give. What runs decides the exit code."""
    passes = run.to_result("sampler-full", CASES["sampler-full"], {"ratio": 1.0}, None, {})
    monkeypatch.setattr(run, "in_own_process", lambda name, args: {**passes, "case": name})
    monkeypatch.delenv("CORESELECT_RIVALS", raising=False)
    words = ["--case", "sweep-small", "sampler-full", "facility-small", "store-small", "--data", str(tmp_path)]
    assert run.main(words) == 0
    said = capsys.readouterr()
    assert [json.loads(line)["case"] for line in said.out.splitlines()] == ["sampler-full"]
    data, rivals = said.err.splitlines()[-2:]
    assert data.startswith("left out sweep-small, store-small: no CIFAR-10 images: give --data DIR")
    assert rivals.startswith("left out facility-small: neither apricot nor submodlib is there")
    assert str(tmp_path) not in said.err
    assert run.main(["--case", "sweep-small", "store-small", "--data", str(tmp_path)]) == 1  # nothing ran


def test_a_process_that_dies_is_a_result(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Several cases run in processes of their own; one that ends without a line gets one."""

    def dies(words: list[str], **_: Any) -> Any:
        case = words[words.index("--case") + 1]
        line = json.dumps(
            run.to_result(case, CASES[case], {"ratio": 1.0, "largest_difference_of_losses": 0.0}, None, {})
        )
        return Namespace(returncode=-9 if "full" in case else 0, stdout="" if "full" in case else line + "\n")

    monkeypatch.setattr(run.subprocess, "run", dies)
    monkeypatch.setattr(run.environment, "environment", dict)
    assert run.main(["--case", "sweep-small", "sweep-full", "--data", "noise"]) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(r["case"], r["passed"]) for r in lines] == [("sweep-small", True), ("sweep-full", False)]
    assert lines[1]["error"] == "the process ended with -9 and no result"


def test_an_unknown_case_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """argparse refuses with exit code 2 and names what there is."""
    with pytest.raises(SystemExit) as refusal:
        run.main(["--case", "quick"])
    assert refusal.value.code == 2
    assert "sweep-small" in capsys.readouterr().err


def test_every_kind_has_a_small_and_a_full_case_and_full_ones_can_fail() -> None:
    """The declared table covers both sizes, and every full case has a threshold."""
    kinds = {size: {CASES[name].kind for name in names} for size, names in SETS.items()}
    assert kinds["small"] == kinds["full"] == {
        "sweep", "selection", "search", "sampler", "attack", "facility", "graph", "gradmatch", "kcenter", "startup",
        "checks", "passes", "store", "loop", "large", "ranks", "training ranks", "views",
        "folding", "threads",
    }  # fmt: skip
    assert all(CASES[name].thresholds for name in SETS["full"])


def test_every_published_result_is_whole_and_names_no_folder() -> None:
    """Committed result files hold JSON lines of declared cases, with thresholds and environment."""
    for file in sorted((Path(run.__file__).parent / "results").glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            result = json.loads(line)
            assert result["case"] in CASES
            assert {"passed", "thresholds", "settings", "environment", "error"} <= result.keys()
            assert "/home/" not in line
            assert str(Path.cwd()) not in line

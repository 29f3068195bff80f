"""`coreselect compare` as a user sees it: what it prints, writes and refuses, and how a stopped one continues."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from coreselect.cli.app import build
from coreselect.cli.command_group import ORDER
from coreselect.data import load
from coreselect.errors import BudgetError, DataError, RequirementError
from coreselect.selectors import Random
from coreselect_integrations.cli.compare_table import show
from coreselect_integrations.comparison import Cell, study
from coreselect_integrations.comparison.cell_files import TERMS
from coreselect_integrations.comparison.cell_run import EMPTY_RECORD
from coreselect_integrations.comparison.statistics import FULL, WARM

pytest.importorskip("sklearn", reason="digits come with scikit-learn")
FACTORIES = """
import torch

def bare(split):
    return list(torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0)))

def uneven(split):
    size = 8 if split == "train" else 16
    return torch.utils.data.TensorDataset(torch.rand(40, 1, size, size), torch.arange(40) % 2)
"""
SHORT = (
    "--rows", 100, "--test-rows", 30, "--epochs", 3, "--warmup", 1, "--every", 1, "--attack-steps", 1, "--batch-size", 32,
    "--seeds", 1, "--fractions", 0.25, "--validation", 20, "--selectors", "rs2,random",
)  # fmt: skip


def command(*words: object) -> Any:
    """Run the application in this process."""
    return CliRunner().invoke(build(), ["compare", *(str(w) for w in words)], env={"COLUMNS": "80"})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("compare")
    return folder, command("--out", folder, *SHORT)


def test_the_table_is_on_stdout_and_a_line_a_cell_on_stderr(done: tuple[Path, Any]) -> None:
    """Four files are written and named; the table says what each method got and took."""
    folder, got = done

    assert got.exit_code == 0, got.output
    assert [f"wrote {folder / name}" in got.stdout for name in ("results.json", "results.csv", "report.html")] == [
        True
    ] * 3
    assert "25 % of the pool, equal epochs" in got.stdout
    assert all(
        f"\n {method} " in got.stdout or f"\n{method} " in got.stdout for method in (WARM, FULL, "rs2", "random")
    )
    assert "sat, small on digits: 4 cells on" in got.stderr
    assert [f"{name}, seed 0: " in got.stderr for name in ("warm", "full", "rs2 0.25", "random 0.25")] == [True] * 4
    results = json.loads((folder / "results.json").read_text())
    assert (results["study"]["pool_size"], results["study"]["selectors"]) == (80, ["rs2", "random"])
    assert len(list(csv.DictReader((folder / "results.csv").open()))) == 4
    pytest.importorskip("matplotlib")
    assert (folder / "pareto.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_again_trains_nothing(done: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Only JSON is on stdout, with the same records; no cell has a line on stderr."""
    folder, _ = done
    monkeypatch.setattr(study, "run_cell", lambda *args: pytest.fail("a finished cell was run"))
    before = json.loads((folder / "results.json").read_text())
    got = command("--out", folder, *SHORT, "--json")
    assert got.exit_code == 0, got.output
    assert json.loads(got.stdout) == before
    assert "seed 0" not in got.stderr


def test_seeds_of_a_choice_are_recorded_and_said(done: tuple[Path, Any]) -> None:
    """With --chosen-on, results.json, the terminal and the page name the seeds that only explore; nothing trains again."""
    folder, _ = done
    got = command("--out", folder, *SHORT, "--chosen-on", "0:1")
    assert got.exit_code == 0, got.output
    assert json.loads((folder / "results.json").read_text())["study"]["chosen_on"] == [0]
    said = "Settings were chosen on seed 0: exploratory."
    assert said in " ".join(got.stdout.split())
    assert said in (folder / "report.html").read_text()
    assert " expl. " in got.stdout


def test_a_failed_cell_is_a_result_and_exit_code_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other cells are still reported; the next call tries the failed one again and ends with 0."""

    def select(*args: Any, **more: Any) -> Any:
        raise ValueError("no [luck]")

    with monkeypatch.context() as m:
        m.setattr(Random, "select", select)
        got = command("--out", tmp_path, *SHORT, "--no-full")
    assert got.exit_code == 1
    assert "random 0.25, seed 0 failed: ValueError: no [luck]" in got.stderr
    assert "1 cell of 3 failed" in got.stderr
    assert "rs2" in got.stdout
    assert "no [luck]" in (tmp_path / "report.html").read_text()
    again = command("--out", tmp_path, *SHORT, "--no-full")
    assert again.exit_code == 0, again.output
    assert "random 0.25, seed 0: " in again.stderr
    assert "rs2 0.25, seed 0: " not in again.stderr


def test_a_folder_under_other_settings_is_refused(done: tuple[Path, Any]) -> None:
    """The sentence has both values, and comes before anything trains."""
    got = command("--out", done[0], *SHORT, "--every", 2)
    assert isinstance(got.exception, RequirementError)
    assert "every 1, this one has 2" in str(got.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--selectors", "rs2,best"), "no selector is called 'best'; there are rcs,"),
        (("--selectors", ","), "--selectors names no method"),
        (("--selectors", "mixture"), "'mixture' combines other selectors: write a mixture as rcs+redraw"),
        (("--selectors", "rcs:eta"), "contains 'eta': write key=value after the name"),
        (("--selectors", "rcs:eta=0"), "eta must lie in"),
        (("--selectors", "rcs:objective=luck"), "no objective is called 'luck'"),
        (("--selectors", "rs2:eta=1"), "the selector 'rs2' has no setting 'eta'; it has none"),
        (("--selectors", "rcs:capture=tail"), "capture is one of head and all, got 'tail'"),
        (("--selectors", "rcs:capture=all+glister:capture=head"), "its parts share one sweep"),
        (("--tuning-rows", 9), "--tuning-rows would be without effect here"),
        (("--fractions", "0.1,2"), "--fractions are shares above 0"),
        (("--fractions", "some"), "--fractions are shares above 0"),
        (("--seeds", 0), "--seeds is how many, at least 1, or the first and the one after the last"),
        (("--seeds", "3:3"), "such as 3:6, got '3:3'"),
        (("--seeds", "some"), "--seeds is how many"),
        (("--seeds", "-1:2"), "--seeds is how many"),
        (("--equal", "money"), "--equal is epochs, time or both"),
        (("--equal", ""), "--equal is epochs, time or both"),
        (("--trainer", "gan"), "--trainer is one of"),
        (("--judged", "luck"), "--judged is, with sat, some of trained, slf"),
        (("--trainer", "acl", "--judged", "trained"), "--judged is, with acl, some of slf, alf"),
        (("--tuning-epochs", 2), "--tuning-epochs would be without effect here: it is for --judged"),
        (("--trainer", "cl"), "--attack-steps would be without effect here: it is for systems with an attack"),
        (("--warmup", 3), "nothing would be chosen: --warmup is 3 of 3 epochs in all"),
        (("--radius", 0), "--radius is above 0"),
        (("--validation", 1.5), "--validation is a share below 1, or a whole number"),
        (("--clock", "sun"), "--clock is one of wall, cpu, got 'sun'"),
        (("--curve", "steps"), "--curve is one of cosine, triangle, constant, stairs, got"),
        (("--curve", "stairs"), "--curve stairs needs the epochs of its steps: give --milestones"),
        (("--chosen-on", "two"), "--chosen-on is how many, at least 1, or the first and the one after the last"),
    ],
)
def test_wrong_usage_is_said_in_a_sentence(words: tuple[Any, ...], said: str, tmp_path: Path) -> None:
    """Exit code 2; nothing is written."""
    got = command("--out", tmp_path / "none", *SHORT, *words)
    assert got.exit_code == 2, got.output
    assert said in " ".join(got.stderr.replace("│", " ").split())
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        (("--fractions", 0.001), BudgetError, "--fractions 0.001 of 80 images is none"),
        (("--validation", 100), BudgetError, "leaves one side empty"),
        (("--out", "pyproject.toml/below"), DataError, "cannot be a folder"),
        (
            ("--selectors", "rs2,redraw+craig", "--trainer", "acl", "--judged", "slf"),
            RequirementError,
            "'craig' reads gradients of cross-entropy, and this task has no classifier",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_first_epoch(
    words: tuple[Any, ...], kind: type[Exception], said: str, tmp_path: Path
) -> None:
    """One sentence, no cell."""
    got = command("--out", tmp_path / "none", *SHORT, *words)
    assert isinstance(got.exception, kind), got.output
    assert said in str(got.exception)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("factory", "said"), [("bare", "needs labels"), ("uneven", "the network takes 1 and 8")], ids=["bare", "uneven"]
)
def test_data_that_cannot_be_judged_on_are_refused(factory: str, said: str, tmp_path: Path) -> None:
    """Images without labels, or test images of another size."""
    (tmp_path / "made.py").write_text(FACTORIES)
    words = tuple(w for w in SHORT if w not in ("--rows", 100, "--test-rows", 30))
    got = command("--out", tmp_path / "none", *words, "--data", f"{tmp_path}/made.py:{factory}")
    assert isinstance(got.exception, DataError), got.output
    assert said in str(got.exception)


def test_a_range_of_seeds_is_fresh(tmp_path: Path) -> None:
    """`--seeds 1:3` trains seeds 1 and 2 from warm models of their own, and the files say so."""
    got = command("--out", tmp_path / "out", *SHORT[:-1], "rs2", "--no-full", "--seeds", "1:3")
    assert got.exit_code == 0, got.output
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert found["study"]["seeds"] == [1, 2]
    assert sorted((r["method"], r["seed"]) for r in found["records"]) == [("rs2", 1), ("rs2", 2), (WARM, 1), (WARM, 2)]


def test_another_set_is_judged_on_too(tmp_path: Path) -> None:
    """`--transfer` adds SLF and ALF there to every cell and every report; a set of other images is refused at once."""
    short = (*SHORT[:-1], "rs2", "--no-full", "--tuning-epochs", 1, "--tuning-rows", 40)
    (tmp_path / "made.py").write_text(FACTORIES)
    got = command("--out", tmp_path / "out", *short, "--transfer", "digits")
    assert got.exit_code == 0, got.output
    assert "25 % of the pool, equal epochs, judged by alf@digits" in got.stdout
    records = json.loads((tmp_path / "out" / "results.json").read_text())["records"]
    assert [list(r["accuracy"]) for r in records] == [["trained", "slf@digits", "alf@digits"]] * 2
    terms = json.loads((tmp_path / "out" / TERMS).read_text())  # the 40 are spread over all of it
    assert terms["train@digits"].startswith(f"n:{len(load('digits', 'train'))}")
    got = command("--out", tmp_path / "none", *short, "--transfer", f"{tmp_path}/made.py:uneven")
    assert isinstance(got.exception, DataError)
    assert "uneven, test has images of 1 channels and 16 pixels, the network takes 1 and 8" in str(got.exception)
    assert not (tmp_path / "none").exists()


def test_the_folder_itself_is_another_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The results of `--transfer .` have the name of the folder, and training still uses --data."""
    for part, n in (("train", 40), ("test", 30)):
        np.save(tmp_path / f"images_{part}.npy", np.full((n, 8, 8, 1), 7, np.uint8))
        np.save(tmp_path / f"labels_{part}.npy", np.arange(n) % 2)
    monkeypatch.chdir(tmp_path)
    judged = ("--judged", "slf", "--tuning-epochs", 1)
    got = command("--out", "out", *SHORT[:-1], "rs2", "--no-full", *judged, "--transfer", ".")
    assert got.exit_code == 0, got.output
    records = json.loads((tmp_path / "out" / "results.json").read_text())["records"]
    assert [list(r["accuracy"]) for r in records] == [["slf", f"slf@{tmp_path.name}"]] * 2
    terms = json.loads((tmp_path / "out" / TERMS).read_text())
    assert (terms["train"][:5], terms[f"train@{tmp_path.name}"][:4]) == ("n:100", "n:40")


def test_the_widest_table_fits_80_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the longest names and the largest numbers nothing is cut off; a long name continues in the next line."""
    monkeypatch.setenv("COLUMNS", "80")
    names = (WARM, FULL, "rs2", "facility_location", "prototypicality")
    words = "rcs:objective=adversarial_ce:capture=all"
    records = []
    for at, method in enumerate((*names, words)):
        for seed in range(2):
            cell = Cell(method, None if method in (WARM, FULL) else 0.05, seed)
            right = {"standard": 0.9, "robust": 0.2 + 0.3 * (seed if at % 2 else 1 - seed), "n": 1000}
            own = {"train_seconds": 12345.6 if method != WARM else 99.0, "select_seconds": 45678.9 * (at > 2)}
            records.append({
                "method": method, "fraction": cell.fraction, "seed": seed, "equal": "epochs", **EMPTY_RECORD, **own,
                "accuracy": {"trained": right}, "seen": 0.5, "rd": 0.1,
            })  # fmt: skip
    show(records, [])
    said = capsys.readouterr().out
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= 80
    assert all(name in said for name in names)
    width = said.splitlines()[1].index("std %")
    assert words in "".join(line[:width].strip() for line in said.splitlines())
    assert said.count("45,679") == 3


def test_help_lists_the_commands_in_order() -> None:
    """The commands are listed in the order in which a user needs them."""
    shown = CliRunner().invoke(build(), ["--help"], env={"COLUMNS": "80"}).stdout
    places = [shown.index(f"│ {name} ") for name in ORDER]
    assert places == sorted(places)

"""The comparisons of docs/results are commands that the command line takes, and the pages hold what came of them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import comparisons
from benchmarks.comparison_tables import order, tables
from benchmarks.comparisons import COMPARISONS, command
from coreselect.cli.options import DataOptions
from coreselect.data import load
from coreselect_integrations.cli import compare_run
from coreselect_integrations.comparison import Study

ROOT = Path(comparisons.__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "comparisons"


class Reached(Exception):
    """The command line has accepted everything and would begin."""


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_comparison_is_a_command_that_is_accepted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every option means something and every method can be made; there are three seeds or more, and the rival comes first."""
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    seen: list[Study] = []

    def begins(study: Study, *rest: Any) -> Any:
        seen.append(study)
        raise Reached

    monkeypatch.setattr(compare_run, "compare_methods", begins)
    monkeypatch.setattr(
        DataOptions, "read", lambda self, split, rows=None: load("digits", split, 900 if split == "train" else 50)
    )
    from typer.testing import CliRunner

    from coreselect.cli.app import build

    got = CliRunner().invoke(build(), command(name, tmp_path, "some/data"))
    assert isinstance(got.exception, Reached), got.output
    (study,) = seen
    declared = COMPARISONS[name].options["--seeds"]
    assert tuple(study.seeds) == ((3, 4, 5) if name.endswith("-fresh") else (*range(int(str(declared))),))
    assert len(study.seeds) >= 3
    assert tuple(study.methods) == COMPARISONS[name].methods
    assert study.methods[0].partition("@")[0] == "rs2"


def test_a_comparison_leaves_its_results_and_names_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the command wrote is kept under the comparison's name; a failed cell is exit code 1, and others still run."""
    ran: list[str] = []

    def fake(words: list[str], **more: Any) -> Any:
        folder = Path(words[words.index("--out") + 1])
        ran.append(folder.name)
        folder.mkdir(parents=True)
        assert more["cwd"] == str(tmp_path)
        study = {"data": words[words.index("--data") + 1]}
        (folder / "results.json").write_text(json.dumps({"study": study, "records": []}))
        (folder / "pareto.png").write_bytes(b"picture")
        return type("Done", (), {"returncode": int(folder.name == "sat")})()

    monkeypatch.setattr(comparisons.subprocess, "run", fake)
    with pytest.raises(SystemExit):
        comparisons.main(["acl", "--data", str(tmp_path / "none")])
    assert "there is no folder" in capsys.readouterr().err
    words = ["--data", str(tmp_path), "--work", str(tmp_path / "work"), "--out", str(tmp_path / "out")]
    assert comparisons.main(["sat-variants", "acl", *words]) == 1
    assert comparisons.main(["dynacl-air", *words]) == 0
    assert ran == ["sat", "acl", "dynacl-air"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["acl", "dynacl-air", "sat-variants"]
    assert json.loads((tmp_path / "out" / "acl" / "results.json").read_text())["study"]["data"] == "cifar10"
    assert (tmp_path / "out" / "acl" / "pareto.png").read_bytes() == b"picture"
    assert str(tmp_path) not in capsys.readouterr().err
    assert subprocess.run is fake  # the module's own name, not a copy


def test_a_comparison_that_dies_keeps_nothing_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sat` and `sat-variants` share a folder: what the first left there is not taken for the second's."""
    left = tmp_path / "sat"
    left.mkdir()
    (left / "results.json").write_text("{}")
    monkeypatch.setattr(comparisons.subprocess, "run", lambda *_, **__: type("Done", (), {"returncode": -9})())
    assert comparisons.run("sat-variants", tmp_path, "data", tmp_path / "out") is False
    assert not (tmp_path / "out").exists()


def records(**changes: Any) -> dict[str, Any]:
    fixed = {
        "method": "rs2", "fraction": 0.1, "seed": 0, "equal": "epochs", "error": None, "epochs": 3, "warm_seconds": 1.0,
        "accuracy": {"trained": {"standard": 0.5, "robust": 0.25, "n": 100}}, "train_seconds": 10.0, "select_seconds": 2.0,
        "selection": {}, "rd": 0.01, "seen": 0.5, "classes": 9.0, "trouble": [],
    }  # fmt: skip
    return {**fixed, **changes}


def test_tables_begin_with_the_network_as_it_was_trained() -> None:
    """Then come new heads on its data, natural before attacked, then those elsewhere."""
    assert sorted(["alf@x", "slf@x", "alf", "slf", "trained"], key=order) == ["trained", "slf", "alf", "slf@x", "alf@x"]


def test_a_table_sets_both_ways_of_being_equal_side_by_side() -> None:
    """A row a method; full has no fraction and stands in every table; what was not run is a dash."""
    better = {"trained": {"standard": 0.5, "robust": 0.27, "n": 100}}
    (table,) = tables(
        [
            records(method="full", fraction=None, seen=1.0),
            records(),
            records(method="rcs", accuracy=better),
            records(equal="time", epochs=9),
        ]
    )
    title, _, head, _, *rows = table.splitlines()
    assert title == "**10 % of the pool**"
    assert head.startswith(
        "| method | standard % | robust % | − rs2 | p | RD | seen % | s | of them selecting | epochs, equal"
    )
    assert rows == [
        "| full | 50.0 | 25.0 | - | - | 0.0100 | 100 | 12.0 | 2.0 | - | - | - | - | - |",
        "| rs2 | 50.0 | 25.0 | - | - | 0.0100 | 50 | 12.0 | 2.0 | 9 | 50.0 | 25.0 | - | - |",
        "| rcs | 50.0 | 27.0 | +2.0 | - | 0.0100 | 50 | 12.0 | 2.0 | - | - | - | - | - |",
    ]


def test_a_table_shows_the_margin_attack_where_it_was_measured() -> None:
    """Beside the accuracy at equal epochs, and beside that at equal time."""
    hard = {"trained": {"standard": 0.5, "robust": 0.27, "margin": 0.21, "n": 100}}
    (table,) = tables([records(accuracy=hard), records(equal="time", accuracy=hard)])
    assert table.splitlines()[2].count("margin %") == 2
    assert table.splitlines()[4].count("| 21.0 |") == 2


@pytest.mark.parametrize("folder", sorted(RESULTS.glob("*")), ids=lambda folder: folder.name)
def test_a_page_holds_the_tables_of_every_published_comparison(folder: Path) -> None:
    """A page shows each table as the records give it; the records are of the declared methods, whole and unfailed."""
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "results").glob("*.md")]

    assert folder.name in COMPARISONS
    assert any(all(table in page for table in tables(found["records"])) for page in pages)
    assert [r for r in found["records"] if r["error"] is not None] == []
    assert found["study"]["selectors"] == [*COMPARISONS[folder.name].methods]
    assert "/" not in found["study"]["data"]
    assert (folder / "pareto.png").read_bytes().startswith(b"\x89PNG")

"""A record of a cell that cannot be believed is a recorded failure: the others are kept, and the next call measures it again."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from coreselect.data import load
from coreselect_integrations.comparison import Cell, Runtime, Study, compare
from coreselect_integrations.comparison.cell_files import RECORD
from coreselect_integrations.comparison.cell_run import EMPTY_RECORD
from coreselect_integrations.comparison.record_checks import is_share, why_unbelievable
from coreselect_integrations.pretraining.settings import Settings

CELL, TESTED = Cell("rs2", 0.25, 0), {"trained": 30}
RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "comparisons"
GOOD = {
    **asdict(CELL), **EMPTY_RECORD, "epochs": 3, "accuracy": {"trained": {"standard": 0.5, "robust": 0.0, "n": 30}},
    "rd": 0.25, "seen": 0.5, "classes": 9.5, "selection": {"sweep": 0.5},
}  # fmt: skip
EDITS: dict[str, Callable[[dict[str, Any]], None]] = {
    "standard, is 5.0, a share": lambda r: r["accuracy"]["trained"].update(standard=5.0),
    "robust, is nan": lambda r: r["accuracy"]["trained"].update(robust=float("nan")),
    "is True, a share": lambda r: r["accuracy"]["trained"].update(robust=True),
    "n, is -1, and": lambda r: r["accuracy"]["trained"].update(n=-1),
    "n, is 31, and there are 30 test images": lambda r: r["accuracy"]["trained"].update(n=31),
    "n, is True": lambda r: r["accuracy"]["trained"].update(n=True),
    "robust, is 0.75, above standard, 0.5": lambda r: r["accuracy"]["trained"].update(robust=0.75),
    "has nothing, and n, robust, standard are needed": lambda r: r["accuracy"].update(trained={}),
    "has n, robust, and n, robust, standard are": lambda r: r["accuracy"]["trained"].pop("standard"),
    "has margin, n, robust, standard, and n, robust": lambda r: r["accuracy"]["trained"].update(margin=0.0),
    "are of nothing, and those of trained are needed": lambda r: r.update(accuracy={}),
    "are of slf, and those of trained are needed": lambda r: r.update(accuracy={"slf": r["accuracy"]["trained"]}),
    "accuracies are no table": lambda r: r.update(accuracy=[1]),
    "its epochs is '2.5'": lambda r: r.update(epochs=2.5),
    "its train_seconds is '-1'": lambda r: r.update(train_seconds=-1),
    "its seen is '1.5'": lambda r: r.update(seen=1.5),
    "its method is 'rcs', not 'rs2'": lambda r: r.update(method="rcs"),
    "it has no 'trouble'": lambda r: r.pop("trouble"),
}


@pytest.mark.parametrize("said", EDITS)
def test_what_a_record_cannot_say_is_found(said: str) -> None:
    """An accuracy of 500 %, times below zero, another cell, a missing part, or numbers that are not those of the study."""
    assert why_unbelievable(GOOD, CELL, TESTED) is None
    record = json.loads(json.dumps(GOOD))
    EDITS[said](record)
    assert said in str(why_unbelievable(record, CELL, TESTED))
    assert why_unbelievable([record], CELL, TESTED) == "it holds a list"


def test_a_margin_attack_that_was_asked_for_is_needed() -> None:
    """Its accuracy belongs to every evaluation then; the standard accuracy is of its own pass, and decides nothing."""
    record = json.loads(json.dumps(GOOD))
    assert "margin, n, robust, standard are needed" in str(why_unbelievable(record, CELL, TESTED, ("margin",)))
    record["accuracy"]["trained"].update(margin=0.0, robust=0.6)
    assert why_unbelievable(record, CELL, TESTED, ("margin",)) is None


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/results.json")), ids=lambda path: path.parent.name)
def test_every_published_record_is_believed(path: Path) -> None:
    """The checks refuse nothing that was measured."""
    held = json.loads(path.read_text())
    judged, also = held["study"]["judged"], held["study"].get("also", ())
    for record in held["records"]:
        assert record["error"] is None
        cell = Cell(*(record[name] for name in ("method", "fraction", "seed", "equal")))
        tested = {name: held["records"][0]["accuracy"][name]["n"] for name in judged}
        assert why_unbelievable({**EMPTY_RECORD, **record}, cell, tested, also) is None


def test_a_share_is_a_number_from_0_to_1() -> None:
    """Nothing else is."""
    assert is_share(0)
    assert is_share(1.0)
    assert not any(is_share(v) for v in (-0.1, 1.01, "1", None, True, float("inf")))


@pytest.mark.parametrize(
    ("damage", "said"), [({"standard": 1.0, "robust": 5.0, "n": 20}, "robust, is 5.0"), ({}, "trained, has nothing")]
)
def test_damaged_cells_do_not_end_a_comparison(tmp_path: Path, damage: dict[str, Any], said: str) -> None:
    """Each of them is an error in its record; the good cell is kept as it is, and a third call has all cells."""
    pytest.importorskip("sklearn", reason="digits come with scikit-learn")
    settings = Settings(system="sat", arch="small", epochs=2, batch_size=32, lr=0.05, attack_steps=1, radius=0.1, step=0.1,
                        warmup=1, every=1, validation=20, rd_steps=1, curve="constant")  # fmt: skip
    study = Study(settings, ("rs2", "random"), (0.25,), (0,), full=False)

    def run() -> list[dict[str, Any]]:
        return compare(study, load("digits", "train", 90), load("digits", "test", 20), Runtime(tmp_path))

    first = run()
    one, two = (tmp_path / Cell(method, 0.25, 0).name / RECORD for method in ("rs2", "random"))
    record = json.loads(one.read_text())
    record["accuracy"]["trained"] = damage
    one.write_text(json.dumps(record))
    two.write_bytes(two.read_bytes()[:40])
    second = run()
    assert second[0] == first[0]
    assert said in second[1]["error"]
    assert second[1]["accuracy"] == {}
    assert "is not the JSON file of a comparison" in second[2]["error"]
    third = run()
    assert [r["accuracy"] for r in third] == [r["accuracy"] for r in first]

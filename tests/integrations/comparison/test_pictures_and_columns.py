"""Claims about AutoAttack and corruption columns, and about the picture of standard beside robust accuracy."""

import csv
import io
from dataclasses import replace
from typing import Any

import pytest

from coreselect_integrations.comparison.page import as_html
from coreselect_integrations.comparison.picture import KINDS, on_front, pareto
from coreselect_integrations.comparison.report import as_csv, caption
from coreselect_integrations.comparison.statistics import lines
from coreselect_integrations.comparison.tables import NARROW, WIDE, nonempty_columns

ABOUT = {
    "system": "sat", "arch": "small", "data": "digits", "pool_size": 100, "tested": 50, "epochs": 9, "warmup": 1, "every": 2,
    "radius": 8 / 255,
}  # fmt: skip


def record(method: str, seed: int, standard: float, robust: float, seconds: float, **more: float) -> dict[str, Any]:
    """A finished cell."""
    found = {"standard": standard, "robust": robust, "n": 2000, **more}
    return {
        "method": method, "fraction": None if method == "full" else 0.1, "seed": seed, "equal": "epochs", "error": None,
        "accuracy": {"trained": found}, "epochs": 9, "warm_seconds": 1.0, "train_seconds": seconds, "select_seconds": 0.0,
        "selection": {}, "rd": None, "seen": 1.0, "classes": None, "trouble": [],
    }  # fmt: skip


RECORDS = [
    record(method, seed, a + seed / 100, b + seed / 100, t, **more)
    for method, a, b, t, more in (
        ("full", 0.9, 0.5, 90.0, {"autoattack": 0.45, "corruptions": 0.8}),
        ("rs2", 0.8, 0.45, 20.0, {"autoattack": 0.4, "corruptions": 0.7}),
        ("rcs", 0.85, 0.4, 30.0, {"autoattack": 0.35, "corruptions": 0.75}),
    )
    for seed in (0, 1)
]


def test_a_dollar_in_a_name_begins_no_mathematics() -> None:
    """What would be wrong in TeX is drawn as it is."""
    odd = [{**r, "method": r["method"].replace("rcs", "$\\frac{")} for r in RECORDS]
    picture = pareto(odd, "images/$\\frac{$[red]", "svg")
    assert picture is not None
    assert picture.startswith(b"<?xml")


def test_more_accuracies_are_columns_where_they_were_measured() -> None:
    """AA and CA are in both tables, the CSV and the page; without them none of these has the column."""
    found = lines(RECORDS)
    assert found[0].autoattack is not None
    assert {line.method: line.corruptions and round(line.corruptions.mean, 3) for line in found}["rcs"] == 0.75
    for table in (WIDE, NARROW):
        names, rows = nonempty_columns(table, found)
        assert {"AA %", "CA %"} <= set(names)
        assert "35.0" in next(row for row in rows if row[0] == "rcs")[names.index("AA %")]
    first = next(csv.DictReader(io.StringIO(as_csv(RECORDS))))
    assert (first["autoattack"], first["corruptions"]) == ("0.45", "0.8")
    assert "CA %" in as_html(ABOUT, RECORDS, None)
    bare = [
        {**r, "accuracy": {"trained": {k: r["accuracy"]["trained"][k] for k in ("standard", "robust", "n")}}}
        for r in RECORDS
    ]
    assert not {"AA %", "CA %"} & set(nonempty_columns(WIDE, lines(bare))[0])
    assert "autoattack" not in as_csv(bare)


def test_each_accuracy_has_a_front_of_its_own() -> None:
    """rcs is slower and less robust than rs2, but has the higher standard accuracy: it is on one of the two fronts."""
    found = lines(RECORDS)
    fronts = {name: {line.method for line in on_front(found, value)} for name, value in KINDS.items()}
    assert fronts == {"standard": {"rs2", "rcs", "full"}, "robust": {"rs2", "full"}}
    assert on_front(found) == on_front(found, KINDS["robust"])


def test_the_picture_says_what_its_numbers_are() -> None:
    """Seeds, attack and number of images stand in the picture, which is a PNG or a PDF; failed seeds are not counted."""
    pytest.importorskip("matplotlib", reason="pictures need coreselect[plot]")
    failed = replace_seed(RECORDS[-1], 2)
    said = caption(ABOUT, [*RECORDS, failed])
    assert said == (
        "sat, small, digits; 2 seeds (0, 1), mean and standard deviation; robust: PGD-20, l∞ 8/255; n = 2,000 test images"
    )
    assert "1 seed;" in caption(ABOUT, RECORDS[:1])
    png, pdf, svg = (pareto(RECORDS, said, kind) for kind in ("png", "pdf", "svg"))
    assert png is not None
    assert png.startswith(b"\x89PNG")
    assert pdf is not None
    assert pdf.startswith(b"%PDF")
    assert svg is not None
    text = svg.decode()
    for words in (
        "standard accuracy, %",
        "robust accuracy, %",
        "speed-up against full data",
        "PGD-20, l∞ 8/255; n = 2,000",
    ):
        assert words in text  # matplotlib writes each text as a comment beside its outlines
    assert replace(lines(RECORDS)[0], autoattack=None).autoattack is None


def replace_seed(found: dict[str, Any], seed: int) -> dict[str, Any]:
    """The same cell of another seed, failed."""
    return {**found, "seed": seed, "error": "boom", "accuracy": {}}

"""The page of a comparison in a real browser: it fits 1,100 pixels, asks for nothing and reports no error."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from coreselect_integrations.comparison.made_by import made_by
from coreselect_integrations.comparison.page import as_html
from coreselect_integrations.comparison.seed_points import accuracies, seed_points
from coreselect_integrations.comparison.statistics import lines

BROWSER = next((found for name in ("chromium", "google-chrome", "chrome") if (found := shutil.which(name))), None)
ABOUT = {
    "system": "sat", "arch": "small", "data": "digits", "pool_size": 4000, "tested": 2000, "epochs": 100, "warmup": 1,
    "every": 2, "radius": 8 / 255, "a long setting": "x" * 400,
}  # fmt: skip
METHODS = (
    "full",
    "rs2",
    "rcs",
    "rcs:capture=all:select_attack_steps=10+redraw",
    "facility_location",
    "importance:score=loss",
)
COMMAND = "coreselect compare --data digits --selectors " + ",".join(METHODS)


def record(method: str, seed: int) -> dict[str, Any]:
    """A finished cell with every column of the table."""
    whole = method == "full"
    found = {
        "standard": 0.812345 - seed / 99,
        "robust": 0.45 + seed / 77,
        "n": 2000,
        "autoattack": 0.4,
        "corruptions": 0.7,
    }
    return {
        "method": method, "fraction": None if whole else 0.1, "seed": seed, "equal": "epochs", "error": None,
        "accuracy": {"trained": found}, "epochs": 100, "warm_seconds": 10.0, "train_seconds": 12345.6 if whole else 1234.5,
        "select_seconds": 0.0 if whole else 123.4, "rd": 0.0512, "seen": 1.0, "classes": 9.99, "trouble": [],
        "selection": {} if whole else {"rows": 100.0, "validation gradients": 12.0, "greedy": 11.4},
    }  # fmt: skip


RECORDS = [record(method, seed) for method in METHODS for seed in (0, 1, 2)]


def page() -> str:
    """A page with long names, all columns and a picture."""
    picture = bytes.fromhex("89504e470d0a1a0a")
    return as_html(ABOUT, RECORDS, picture, made_by("cpu", COMMAND, now=datetime(2026, 1, 2, 3, 4, tzinfo=UTC)))


def test_the_page_says_when_where_and_by_what_it_was_made() -> None:
    """Date, versions, machine and the command, as text."""
    text = unescape(re.sub(r"<[^>]+>", " ", page()))
    assert "2026-01-02 03:04 UTC" in text
    assert re.search(r"coreselect \d\S+, torch \d", text)
    assert "cores; cpu" in text
    assert COMMAND in text
    assert "Speed-up is the mean time of the full run divided by the mean time of the method" in text
    assert "error bars are standard deviations over seeds" in text


def test_every_seed_has_a_dot_at_its_accuracy() -> None:
    """One dot for each finished cell, further right for a larger accuracy; with one seed there is no such picture."""
    found = lines(RECORDS)
    drawn = seed_points(RECORDS, found)
    dots = re.findall(r'<circle cx="([\d.]+)"[^>]*><title>([^<]+), seed (\d): ([\d.]+) %', drawn)
    assert len(dots) == len(RECORDS)
    assert {(method, int(seed)): float(value) for _, method, seed, value in dots} == pytest.approx(
        {(r["method"], r["seed"]): 100 * r["accuracy"]["trained"]["robust"] for r in RECORDS}, abs=0.005
    )
    places = sorted((float(value), float(x)) for x, _, _, value in dots)
    assert [x for _, x in places] == sorted(x for _, x in places)
    failed = [{**RECORDS[0], "error": "no", "accuracy": {}}, *RECORDS[1:]]
    assert [seed for seed, _ in accuracies(failed, next(o for o in found if o.method == "full"))] == [1, 2]
    once = [r for r in RECORDS if r["seed"] == 0]
    assert seed_points(once, lines(once)) == ""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed (apt-get install chromium)")
def test_a_browser_shows_it_in_1100_pixels_without_an_error(tmp_path: Path) -> None:
    """Neither the page nor a table in it has to be scrolled sideways; the console is empty, and no resource is fetched."""
    look = """<script>addEventListener("load", () => { const root = document.documentElement; document.title = JSON.stringify({
      width: innerWidth, page: root.scrollWidth,
      tables: [...document.querySelectorAll(".wide")].map(d => d.scrollWidth - d.clientWidth),
      fetched: performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:")),
      circles: document.querySelectorAll("circle").length }) })</script>"""
    file = tmp_path / "report.html"
    file.write_text(page().replace("</head>", f"{look}</head>"), encoding="utf-8")
    words = [
        BROWSER,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1100,900",
        "--enable-logging=stderr",
    ]
    words += [
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=2000",
    ]
    done = subprocess.run([*map(str, words), "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=120)
    seen = json.loads(unescape(re.findall(r"<title>(\{.*?\})</title>", done.stdout)[0]))
    assert seen["page"] <= seen["width"] <= 1100
    assert set(seen["tables"]) == {0}
    assert seen["fetched"] == []
    assert seen["circles"] == len(RECORDS)
    assert "CONSOLE" not in done.stderr

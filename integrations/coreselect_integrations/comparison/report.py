"""Write a comparison to files: records as JSON and CSV, a picture, and an HTML page that works offline."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coreselect.io.atomic import atomic_file
from coreselect_integrations.comparison.statistics import MEASURES, REFERENCE, Record
from coreselect_integrations.comparison.tables import WIDE, blocks, nonempty_columns, seconds_by_part

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a; }
h2 { margin: 2.5rem 0 .5rem; font-size: 1.15rem; } h3 { margin: 1rem 0 0; font-size: .95rem; font-weight: 600; color: #555; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .5rem 0 1rem; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { font-weight: 600; border-bottom: 2px solid #999; }
th:first-child, td:first-child { text-align: left; }
tr.reference { background: #eef4fb; font-weight: 600; }
.failed { color: #a33; }
p, li { max-width: 48rem; }
img { max-width: 100%; }
pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: 12px; }
"""
PLAIN = (
    "method", "fraction", "equal", "seed", "error", "epochs", "train_seconds", "select_seconds", "rd", "seen", "classes",
)  # fmt: skip
NOTE = (
    "Values are mean ± standard deviation over seeds. All methods of a seed start from the same warm model. Differences to "
    f"{REFERENCE} (a new random subset in every epoch) are in points of robust accuracy and paired by seed; p is two-sided, "
    "by Student's t. Few seeds show little: with three seeds, only differences of several standard deviations are clear. "
    "With many methods, some p fall below 0.05 by chance.",
    "Seconds include selection and the warm-up. Speed-up is the time of the full run divided by the time of the method. RD "
    "is that of held-out images at the end. Seen is the share of the pool that was trained on since the warm-up. Classes is "
    "exp(entropy) of the classes in the last selection.",
)


def write(
    folder: Path, about: Mapping[str, Any], records: Sequence[Record], picture: bytes | None, pdf: bytes | None = None
) -> list[Path]:
    """Write `results.json`, `results.csv`, `report.html` and, if there are pictures, `pareto.png` and `pareto.pdf`.

    Args:
        folder: of the comparison.
        about: JSON values that describe the comparison: at least system, arch, data, pool_size, tested, epochs, warmup and
            every.
        records: of `compare`.
        picture, pdf: of `pareto`, or None.
    Returns:
        the paths of the files.
    """
    files = {
        "results.json": json.dumps({"study": about, "records": list(records)}, indent=1).encode(),
        "results.csv": as_csv(records).encode(),
        "report.html": as_html(about, records, picture).encode(),
    }
    if picture is not None:
        files["pareto.png"] = picture
    if pdf is not None:
        files["pareto.pdf"] = pdf
    for name, held in files.items():
        with atomic_file(folder / name) as file:
            file.write(held)
    return [folder / name for name in files]


def as_csv(records: Sequence[Record]) -> str:
    """Return one row for each record and evaluation, accuracies in [0, 1]; each part of selection has a column of seconds."""
    timed = sorted({part for r in records for part in r["selection"]})
    out = io.StringIO()
    writer = csv.writer(out)
    more = [name for name in MEASURES if any(name in found for r in records for found in r["accuracy"].values())]
    writer.writerow([*PLAIN, "judged", "standard", "robust", "n", *more, *(f"select_{part}_seconds" for part in timed)])
    for r in records:
        for judged, found in (r["accuracy"] or {"": {}}).items():
            plain = [r[name] for name in PLAIN]
            measured = [judged, *(found.get(name) for name in ("standard", "robust", "n", *more))]
            writer.writerow([*plain, *measured, *(r["selection"].get(part) for part in timed)])
    return out.getvalue()


def as_html(about: Mapping[str, Any], records: Sequence[Record], picture: bytes | None) -> str:
    """Return one page that needs no other files."""
    body = ["<h1>Comparison of selectors</h1>", f"<p>{html.escape(sentence(about))}</p>"]
    if picture is not None:
        coded = base64.b64encode(picture).decode()
        body.append(f'<img alt="standard and robust accuracy against time" src="data:image/png;base64,{coded}">')
    for title, found in blocks(records):
        body.append(f"<h2>{html.escape(title)}</h2>{table(*nonempty_columns(WIDE, found))}")
        names, rows = seconds_by_part(found)
        if rows:
            body.append(f"<h3>Wall-clock seconds of selection, by part</h3>{table(names, rows)}")
    failed = [r for r in records if r["error"] is not None]
    if failed:
        items = [f"<li>{html.escape(name_of(r))}: {html.escape(str(r['error']))}</li>" for r in failed]
        body.append(f'<h2>What failed</h2><ul class="failed">{"".join(items)}</ul>')
    signs = troubles(records)
    if signs:
        items = [f"<li>{html.escape(method)}: {html.escape(words)}</li>" for method, words in signs]
        body.append(f"<h2>Diagnostics of trouble</h2><ul>{''.join(items)}</ul>")
    body.append("<h2>How to read it</h2>" + "".join(f"<p>{html.escape(note)}</p>" for note in NOTE))
    body.append(f"<h2>Settings</h2><pre>{html.escape(json.dumps(dict(about), indent=1))}</pre>")
    head = f'<meta charset="utf-8"><title>Comparison of selectors</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>'


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table; the row of the reference is highlighted."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    lines = []
    for row in rows:
        kind = ' class="reference"' if row[0] == REFERENCE else ""
        lines.append(f"<tr{kind}>" + "".join(f"<td>{html.escape(word)}</td>" for word in row) + "</tr>")
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def troubles(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Return (method, words) for each kind of trouble that a method's selections have shown."""
    return list(dict.fromkeys((r["method"], words) for r in records for words in r["trouble"]))


def sentence(about: Mapping[str, Any]) -> str:
    """Describe the comparison in one sentence."""
    plan = (
        f"{about['epochs']} epochs, the first {about['warmup']} on the whole pool, a selection every {about['every']}"
    )
    images = f"{about['pool_size']:,} images to choose from, {about['tested']:,} tested"
    clock = "; seconds are processor seconds" if about.get("clock") == "cpu" else ""
    if about.get("processes", 1) > 1:
        clock += f"; {about['processes']} processes trained at once"
    return f"{about['system']}, {about['arch']}, {about['data']}: {images}; {plan}{clock}."


def caption(about: Mapping[str, Any], records: Sequence[Record]) -> str:
    """Say below a picture what its numbers are: seeds, attack and number of images."""
    seeds = sorted({r["seed"] for r in records if r["error"] is None and r["accuracy"]})
    counts = sorted({found["n"] for r in records for found in r["accuracy"].values()})
    n = " and ".join(f"{count:,}" for count in counts)
    said = (
        f"{len(seeds)} seeds ({', '.join(map(str, seeds))}), mean and standard deviation"
        if len(seeds) > 1
        else "1 seed"
    )
    attack = f"robust: PGD-20, l∞ {255 * about['radius']:.3g}/255"
    return f"{about['system']}, {about['arch']}, {about['data']}; {said}; {attack}; n = {n} test images"


def name_of(record: Record) -> str:
    """Name a cell in words."""
    part = "" if record["fraction"] is None else f" {record['fraction']:g}"
    late = "" if record["equal"] == "epochs" else f", equal {record['equal']}"
    return f"{record['method']}{part}, seed {record['seed']}{late}"

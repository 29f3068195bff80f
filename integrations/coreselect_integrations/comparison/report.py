"""Write a comparison to files: records as JSON and CSV, pictures, and an HTML page that works offline."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from coreselect.io.atomic import atomic_file
from coreselect.support.printable import printable
from coreselect_integrations.comparison.page import as_html
from coreselect_integrations.comparison.statistics import MEASURES, Record

PLAIN = (
    "method", "fraction", "equal", "seed", "error", "epochs", "train_seconds", "select_seconds", "rd", "seen", "classes",
)  # fmt: skip


def write(
    folder: Path,
    about: Mapping[str, Any],
    records: Sequence[Record],
    picture: bytes | None,
    pdf: bytes | None = None,
    svg: bytes | None = None,
    *,
    made: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write `results.json`, `results.csv`, `report.html` and the pictures that there are, `pareto.png`, `.pdf` and `.svg`.

    Args:
        folder: of the comparison.
        about: JSON values that describe the comparison: at least system, arch, data, pool_size, tested, epochs, warmup and
            every.
        records: of `compare`.
        picture, pdf, svg: of `pareto`, or None.
        made: what the head of the page says of its making, see `made_by`.
    Returns:
        the paths of the files.
    """
    files = {
        "results.json": json.dumps({"study": about, "records": list(records)}, indent=1).encode(),
        "results.csv": as_csv(records).encode(errors="backslashreplace"),
        "report.html": as_html(about, records, picture, made).encode(errors="backslashreplace"),
    }
    pictures = {"pareto.png": picture, "pareto.pdf": pdf, "pareto.svg": svg}
    files |= {name: drawn for name, drawn in pictures.items() if drawn is not None}
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
    return printable(f"{about['system']}, {about['arch']}, {about['data']}; {said}; {attack}; n = {n} test images")

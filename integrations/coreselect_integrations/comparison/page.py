"""The HTML page of a comparison: it needs no other file and no network, and fits a window of 1,100 pixels."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from coreselect_integrations.comparison.picks import table_of_picks
from coreselect_integrations.comparison.seed_points import seed_points
from coreselect_integrations.comparison.statistics import REFERENCE, Record, reference_of
from coreselect_integrations.comparison.tables import (
    WIDE,
    blocks,
    nonempty_columns,
    seconds_by_part,
    what_can_be_seen,
)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1068px; margin: 1.5rem auto; padding: 0 1rem; color: #1a1a1a; }
h2 { margin: 2.5rem 0 .5rem; font-size: 1.15rem; } h3 { margin: 1rem 0 0; font-size: .95rem; font-weight: 600; color: #555; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 12px; font-variant-numeric: tabular-nums; margin: .5rem 0 1rem; }
th, td { padding: .2rem .25rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { font-weight: 600; border-bottom: 2px solid #999; white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; }
tr.reference { background: #eef4fb; font-weight: 600; }
.failed { color: #a33; }
p, li { max-width: 48rem; }
img, svg { max-width: 100%; height: auto; }
pre { background: #f6f6f6; padding: 1rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 12px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; font-size: 13px; }
dt { color: #555; } dd { margin: 0; overflow-wrap: anywhere; }
"""
SPEED_UP = (
    "Speed-up is the mean time of the full run divided by the mean time of the method, selection and warm-up included; the upper "
    "axis of the picture is the same."
)
NOTE = (
    "Values are mean ± standard deviation over seeds, and error bars are standard deviations over seeds. All methods of a seed "
    f"start from the same warm model. Differences to {REFERENCE} (a new random subset in every epoch) are in points of robust "
    "accuracy and paired by seed.",
    "p is two-sided, of a paired t-test. With many methods, some p fall below 0.05 by chance: p, Holm is corrected for all the "
    "comparisons on this page. Visible is the smallest true difference, in points, that the test finds with power 0.8 at "
    "p < 0.05 (uncorrected), given the spread of the line's differences: a smaller difference can be there unseen.",
    f"Seconds include selection and the warm-up. {SPEED_UP} RD is that of held-out images at the end. Seen is the share of the "
    "pool that was trained on since the warm-up. Classes is exp(entropy) of the classes in the last selection. "
    "Gap is PGD-20 minus the hardest attack: a line with a much larger gap than the others masks its gradients, and is worth "
    "what the hardest attack leaves.",
)


def standing(about: Mapping[str, Any]) -> str:
    """Say whether the p-values of a comparison explore or confirm."""
    chosen, ran = about.get("chosen_on"), about.get("seeds", ())
    if not chosen:
        return (
            "It is not recorded on which seeds methods and settings were chosen (--chosen-on). A p confirms only what was fixed "
            "before these seeds were run; anything else is exploratory."
        )
    both = f"Settings were chosen on {_seeds(chosen)}: exploratory."
    fresh = sorted({*ran} - {*chosen})
    if not fresh:
        return f"{both} There are no others here, so p is not shown: run fresh seeds (--seeds) to confirm."
    return f"{both} Fresh {_seeds(fresh)}: confirmatory, p and the smallest difference are theirs alone."


def _seeds(seeds: Sequence[int]) -> str:
    """Write `seeds 0, 1, 2`."""
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def as_html(
    about: Mapping[str, Any],
    records: Sequence[Record],
    picture: bytes | None,
    made: Mapping[str, str] | None = None,
) -> str:
    """Return one page that needs no other files.

    Args:
        about, records: of the comparison; `about["chosen_on"]`, if it is there, are the seeds on which settings were chosen.
        picture: PNG, or None.
        made: when, where and by which command the page was made, in words by name.
    """
    body = ["<h1>Comparison of selectors</h1>", f"<p>{html.escape(sentence(about))}</p>"]
    if made:
        rows = (f"<dt>{html.escape(name)}</dt><dd>{html.escape(words)}</dd>" for name, words in made.items())
        body.append(f"<dl>{''.join(rows)}</dl>")
    if picture is not None:
        coded = base64.b64encode(picture).decode()
        body.append(f'<img alt="standard and robust accuracy against time" src="data:image/png;base64,{coded}">')
    chosen_on, reference = about.get("chosen_on") or (), reference_of(records)
    each = blocks(records, chosen_on)
    if any(line.against is not None for _, found in each for line in found):
        body.append(f"<p>{html.escape(standing(about))}</p>")
    for title, found in each:
        body.append(f"<h2>{html.escape(title)}</h2>{table(*nonempty_columns(WIDE, found), reference)}")
        body.append(f"<p>{html.escape(what_can_be_seen(found))}</p>")
        body.append(seed_points(records, found))
        names, rows = seconds_by_part(found)
        if rows:
            body.append(f"<h3>Wall-clock seconds of selection, by part</h3>{table(names, rows)}")
    names, rows = table_of_picks(records)
    if rows:
        body.append(f"<h2>What was picked</h2>{table(names, rows)}")
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
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head += f"<title>Comparison of selectors</title><style>{STYLE}</style>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>'


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


def table(names: Sequence[str], rows: Sequence[Sequence[str]], reference: str = REFERENCE) -> str:
    """Return an HTML table; the row of the reference is highlighted."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
    lines = []
    for row in rows:
        kind = ' class="reference"' if row[0] == reference else ""
        lines.append(f"<tr{kind}>" + "".join(f"<td>{html.escape(word)}</td>" for word in row) + "</tr>")
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(lines)}</table></div>'


def troubles(records: Sequence[Record]) -> list[tuple[str, str]]:
    """Return (method, words) for each kind of trouble that a method's selections have shown."""
    return list(dict.fromkeys((r["method"], words) for r in records for words in r["trouble"]))


def name_of(record: Record) -> str:
    """Name a cell in words."""
    part = "" if record["fraction"] is None else f" {record['fraction']:g}"
    late = "" if record["equal"] == "epochs" else f", equal {record['equal']}"
    return f"{record['method']}{part}, seed {record['seed']}{late}"

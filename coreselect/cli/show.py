"""A selection in words and bars for the terminal."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coreselect.report.summary import Balance, balance, group_gains
from coreselect.support.printable import all_printable, printable
from coreselect.types import Certificate, Float64, Int64, Provenance, Selection

_BLOCKS = "▁▂▃▄▅▆▇█"
_EIGHTHS = " ▏▎▍▌▋▊▉"
_NAME, _BAR, _SPARK = 18, 20, 60  # characters of a class name, of a bar, of the gain curve
_MANY = 20  # of more classes than this only the extremes are shown
_SEPARATOR = " · "


def summary(
    selection: Selection,
    *,
    labels: Int64 | None = None,
    class_names: Sequence[str] | None = None,
    pool: Int64 | None = None,
) -> RenderableType:
    """Return what is known about a selection, for `rich` to print in 80 columns or more.

    Args:
        labels: int64 [n], of the dataset in which `source_indices` are positions; None leaves the class balance out.
        class_names: one name for each label value.
        pool: int64 [N], the labels of the pool; None: those of `labels` that are not validation's.
    Raises:
        IndexFileError: a pick lies outside `labels`.
    """
    selection, class_names = all_printable(selection), class_names and [printable(name) for name in class_names]
    page = Table.grid(padding=(0, 2, 1, 0))
    page.add_column(style="bold", no_wrap=True)
    page.add_column(ratio=1)
    page.add_row("selection", _sizes(selection))
    if labels is not None:
        page.add_row("classes", _classes(balance(selection, labels, class_names, pool)))
    page.add_row("gains", _gains(group_gains(selection)))
    page.add_row("certificate", _certificate(selection.certificate))
    page.add_row("trouble", _trouble(selection))
    page.add_row("time", _seconds(selection.provenance))
    page.add_row("provenance", _provenance(selection.provenance))
    return page


def _sizes(selection: Selection) -> Text:
    made, k = selection.provenance, len(selection)
    groups = len(np.unique(selection.groups))
    text = Text.assemble(
        (made.selector, "bold cyan"),
        f" chose {k:,} of {made.pool_size:,} examples ({100 * k / made.pool_size:.3g}%)",
    )
    if groups < k:
        sizes = np.unique(np.unique(selection.groups, return_counts=True)[1])
        span = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        text.append(f"\n{groups:,} groups of {span}")
    else:
        text.append("\none by one")
    text.append(f"{_SEPARATOR}prefixes are {'' if selection.nested else 'not '}coresets themselves")
    if selection.weights is not None:
        text.append(f"\nweights {selection.weights.min():.3g} to {selection.weights.max():.3g}")
    return text


def _classes(counts: Balance) -> RenderableType:
    shares = counts.chosen / counts.chosen.sum(), counts.pool / max(counts.pool.sum(), 1)
    top = max(shares[0].max(), shares[1].max())
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(max_width=_NAME, overflow="ellipsis", no_wrap=True)
    table.add_column(width=_BAR)
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    table.add_row("", "", Text("chosen", "dim"), Text("share", "dim"), Text("in pool", "dim"))
    order = list(range(len(counts.names)))
    left_out = 0
    if len(order) > _MANY:  # the classes that are most over- and under-represented
        by_excess = np.argsort(shares[1] - shares[0], kind="stable").tolist()
        left_out = len(order) - _MANY // 2
        order = [*by_excess[: _MANY // 4], -1, *by_excess[-(_MANY // 4) :]]
    for c in order:
        if c < 0:
            table.add_row(Text(f"… {left_out} between", "dim"), *[""] * 4)
        else:
            share = Text(bar(shares[0][c] / top, _BAR), "cyan")
            table.add_row(
                Text(counts.names[c]),
                share,
                f"{counts.chosen[c]:,}",
                f"{shares[0][c]:.1%}",
                Text(f"{shares[1][c]:.1%}", "dim"),
            )
    return table


def _gains(gains: Float64) -> RenderableType:
    if not np.any(gains):
        return Text("this method has no gains", "dim")
    every = len(gains)
    gains = gains[np.isfinite(gains)]  # an index file may hold infinite ones
    if not np.any(gains):
        return Text(f"{every - len(gains):,} gains of {every:,} are infinite, and the others 0", "dim")
    unit = gains / np.abs(gains).max()  # the sums of large numbers overflow
    parts = np.array_split(unit, min(_SPARK, len(gains)))
    curve = np.array([part.mean() for part in parts])
    low, high = min(0.0, curve.min()), max(0.0, curve.max())
    heights = (curve - low) / (high - low) * (len(_BLOCKS) - 1)
    spark = Text()
    for value, height in zip(curve, heights, strict=True):
        spark.append(_BLOCKS[round(height)], "red" if value < 0 else "cyan")
    with np.errstate(over="ignore"):
        total = gains.sum()
    words = f"sum {total:.4g} over {len(gains):,} groups in pick order"
    if len(parts) < len(gains):
        words += f", {len(gains) / len(parts):.0f} or so to a bar"
    words += f"\nfirst {gains[0]:.4g}, last {gains[-1]:.4g}"
    if gains.min() >= 0:
        half = int(np.searchsorted(np.cumsum(unit), unit.sum() / 2)) + 1
        words += f"; half the sum after {half:,} of them"
    else:
        words += f"; {(gains < 0).sum():,} negative"
    if len(gains) < every:
        words += f"\n{every - len(gains):,} others are infinite, and left out here"
    return Group(spark, Text(words))


def _certificate(known: Certificate | None) -> RenderableType:
    if known is None:
        return Text("none", "dim")
    bound = "no upper bound" if known.upper_bound is None else f"upper bound {known.upper_bound:.4g}"
    ratio = "no ratio" if known.ratio is None else f"ratio {known.ratio:.3g}"
    text = Text.assemble(
        (known.method, "bold cyan"), f"{_SEPARATOR}value {known.value:.4g}{_SEPARATOR}{bound}{_SEPARATOR}{ratio}"
    )
    lines: list[RenderableType] = [text, *(_item("assumes", words) for words in known.assumptions)]
    if known.details:
        lines.append(_item("details", _SEPARATOR.join(f"{name} {value:.4g}" for name, value in known.details.items())))
    return Group(*lines)


def _trouble(selection: Selection) -> RenderableType:
    diagnostics = selection.diagnostics
    known = (
        {} if diagnostics is None else {name: value for name, value in asdict(diagnostics).items() if value is not None}
    )
    if diagnostics is None or not known:
        return Text("not looked for", "dim")
    words = diagnostics.trouble()
    lines = [_item("!", line, "bold yellow") for line in words] if words else [Text("no sign of it", "green")]
    attacked = known.pop("misclassified_attacked", False)
    more = {"misclassified": " under attack", "misclassified_pool": " under attack"} if attacked else {}
    measures = _SEPARATOR.join(
        f"{name.replace('_', ' ')}{more.get(name, '')} {value:.4g}" for name, value in known.items()
    )
    return Group(*lines, _item("measured", measures))


def _seconds(made: Provenance) -> RenderableType:
    total = math.fsum(made.seconds.values())
    if not made.seconds:
        return Text("not recorded", "dim")
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right", no_wrap=True)
    table.add_column(width=_BAR)
    for part, seconds in made.seconds.items():
        table.add_row(Text(part), f"{seconds:.2f} s", Text(bar(seconds / total if total > 0 else 0.0, _BAR), "cyan"))
    if len(made.seconds) > 1:
        table.add_row(Text("in all", "dim"), Text(f"{total:.2f} s", "dim"), "")
    return table


def _provenance(made: Provenance) -> RenderableType:
    held = made.validation_indices
    rows = {
        "selector": f"{made.selector}{_SEPARATOR}seed {made.seed}{_SEPARATOR}round {made.round}",
        "settings": _SEPARATOR.join(f"{name} = {_short(value)}" for name, value in made.settings.items()),
        "pool": made.fingerprint,
        "validation": "none"
        if held is None
        else f"{len(held):,} examples" + (f", {made.disjoint}" if made.disjoint else ""),
        "command": str(made.command.get("line") or ""),
        "versions": _SEPARATOR.join(f"{name} {version}" for name, version in made.versions.items()),
    }
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, words in [*rows.items(), *(("note", note) for note in made.notes)]:
        if words:
            table.add_row(name, Text(words))
    return table


def _item(head: str, words: str, style: str = "dim") -> RenderableType:
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(style=style, no_wrap=True)
    row.add_column()
    row.add_row(head, Text(words))
    return row


def bar(share: float, width: int) -> str:
    """Return a bar that fills `share` in [0, 1] of the width, exact to an eighth of a character."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    return ("█" * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        if "type" in value:  # the form in which `coreselect.support.records` writes an object
            return f"{value['type']}({', '.join(f'{k}={_short(v)}' for k, v in value.items() if k != 'type')})"
        return "{" + ", ".join(f"{k}: {_short(v)}" for k, v in value.items()) + "}"
    return "[" + ", ".join(map(_short, value)) + "]" if isinstance(value, list | tuple) else str(value)

"""Several selections of one pool side by side: for the terminal, and as plain values for `--json`."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from coreselect.cli.show import bar
from coreselect.report.agreement import Pair, pairs
from coreselect.report.summary import Balance, balance
from coreselect.support.printable import all_printable, printable
from coreselect.types import Int64, Selection

_MANY = 20  # of more classes than this those are shown in which the selections differ most
_ABREAST = 6  # selections in one table of classes, at most
_NAME, _BARS = 14, 20  # characters of a class name, of all bars of a line


def letters(count: int) -> tuple[str, ...]:
    """Return short names for up to 26 selections: A, B, C, …"""
    return tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[:count])


def comparison(
    selections: Sequence[Selection],
    files: Sequence[str],
    *,
    labels: Int64 | None = None,
    class_names: Sequence[str] | None = None,
    pool: Int64 | None = None,
) -> RenderableType:
    """Return what selections have in common, for `rich` to print in 80 columns or more.

    Args:
        selections: at least two, of one pool (`coreselect.report.agreement.check_same_pool`).
        files: the file of each selection.
        labels: int64 [n], of the dataset in which `source_indices` are positions; None leaves the class balance out.
        class_names: one name for each label value.
        pool: int64 [N], the labels of the pool; None: those of `labels` that are not validation's.
    """
    selections, files = [all_printable(s) for s in selections], [printable(file) for file in files]
    class_names = class_names and [printable(name) for name in class_names]
    found = pairs(selections)
    page = Table.grid(padding=(0, 2, 1, 0))
    page.add_column(style="bold", no_wrap=True)
    page.add_column(ratio=1)
    page.add_row("selections", _files(selections, files))
    page.add_row("overlap", _overlaps(found))
    page.add_row("order", _orders(found, selections))
    if labels is not None:
        page.add_row("classes", _classes([balance(s, labels, class_names, pool) for s in selections]))
    return page


def as_json(
    selections: Sequence[Selection],
    files: Sequence[str],
    *,
    labels: Int64 | None = None,
    class_names: Sequence[str] | None = None,
    pool: Int64 | None = None,
) -> dict[str, Any]:
    """Return the numbers of `comparison` for all classes, as plain values. `first` and `second` count from 0."""
    known = selections[0].provenance
    classes = None
    if labels is not None:
        kept = [balance(s, labels, class_names, pool) for s in selections]
        classes = [
            {"name": name, "pool": int(kept[0].pool[c]), "chosen": [int(counts.chosen[c]) for counts in kept]}
            for c, name in enumerate(kept[0].names)
        ]
    return {
        "pool_size": known.pool_size,
        "fingerprint": known.fingerprint,
        "selections": [
            {
                "file": file,
                "selector": s.provenance.selector,
                "budget": len(s),
                "seed": s.provenance.seed,
                "round": s.provenance.round,
                "nested": s.nested,
            }
            for s, file in zip(selections, files, strict=True)
        ],
        "pairs": [asdict(pair) for pair in pairs(selections)],
        "classes": classes,
    }


def _files(selections: Sequence[Selection], files: Sequence[str]) -> RenderableType:
    pool = selections[0].provenance.pool_size
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for letter, s, file in zip(letters(len(selections)), selections, files, strict=True):
        made, k = s.provenance, len(s)
        share = f"{k:,} of {pool:,} ({100 * k / pool:.3g}%)"
        table.add_row(letter, Text(f"{made.selector} · {share} · seed {made.seed} · round {made.round}"))
        table.add_row("", Text(file, "dim"))
    return table


def _overlaps(found: Sequence[Pair]) -> RenderableType:
    table = _numbers(1, "common", "chance", "off by", "1st in 2nd", "2nd in 1st", "Jaccard", "chance")
    for pair in found:
        o = pair.overlap
        off = "–" if o.deviations is None else f"{o.deviations:+.1f} σ"
        table.add_row(
            _names(pair), f"{o.common:,}", _dim(f"{o.chance_common:,.1f}"), off, f"{o.first_in_second:.1%}",
            f"{o.second_in_first:.1%}", f"{o.jaccard:.3f}", _dim(f"{o.chance_jaccard:.3f}"),
        )  # fmt: skip
    return Group(table, _dim("chance: uniform draws of the same sizes; σ: their standard deviation"))


def _orders(found: Sequence[Pair], selections: Sequence[Selection]) -> RenderableType:
    table = _numbers(2, "common", "Spearman", "chance", "Kendall", "chance")
    for pair in found:
        o = pair.order
        cells = ["–"] * 4
        if o.spearman is not None:
            cells = [
                f"{o.spearman:+.3f}",
                f"± {o.spearman_spread:.3f}",
                f"{o.kendall:+.3f}",
                f"± {o.kendall_spread:.3f}",
            ]
        table.add_row(_names(pair), f"{o.picks:,}", cells[0], _dim(cells[1]), cells[2], _dim(cells[3]))
    lines: list[RenderableType] = [table]
    loose = [letter for letter, s in zip(letters(len(selections)), selections, strict=True) if not s.nested]
    if loose:
        lines.append(_dim(f"not nested, so their order may mean nothing: {', '.join(loose)}"))
    return Group(*lines)


def _classes(counts: Sequence[Balance]) -> RenderableType:
    pool = counts[0].pool / max(counts[0].pool.sum(), 1)  # [C]
    chosen = np.stack([c.chosen / c.chosen.sum() for c in counts])  # [S, C]
    order = np.arange(len(pool))
    if len(order) > _MANY:
        order = np.sort(np.argsort(chosen.min(axis=0) - chosen.max(axis=0), kind="stable")[:_MANY])
    top = max(float(chosen[:, order].max()), float(pool[order].max()))
    names = letters(len(counts))
    lines: list[RenderableType] = []
    for at in range(0, len(counts), _ABREAST):
        block = range(at, min(at + _ABREAST, len(counts)))
        width = _BARS // len(block) if len(block) <= 4 else 0
        table = Table.grid(padding=(0, 1, 0, 0))
        table.add_column(max_width=_NAME, overflow="ellipsis", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        for _ in block:
            if width:
                table.add_column(width=width, no_wrap=True)
            table.add_column(justify="right", no_wrap=True)
        heads = [part for s in block for part in ([""] if width else []) + [Text(names[s], "bold cyan")]]
        table.add_row("", _dim("pool"), *heads)
        for c in order.tolist():
            cells: list[RenderableType] = []
            for s in block:
                cells += [Text(bar(chosen[s, c] / top, width), "cyan")] if width else []
                cells.append(Text(f"{chosen[s, c]:.1%}"))
            table.add_row(Text(counts[0].names[c]), _dim(f"{pool[c]:.1%}"), *cells)
        lines.append(table)
    if len(order) < len(pool):
        lines.append(_dim(f"the {len(order)} of {len(pool)} classes whose shares differ most"))
    return Group(*lines)


def _numbers(gap: int, *heads: str) -> Table:
    table = Table.grid(padding=(0, gap, 0, 0))
    table.add_column(style="bold cyan", no_wrap=True)
    for _ in heads:
        table.add_column(justify="right")
    table.add_row("", *(_dim(head) for head in heads))
    return table


def _names(pair: Pair) -> str:
    return f"{letters(26)[pair.first]} {letters(26)[pair.second]}"


def _dim(words: str) -> Text:
    return Text(words, "dim")

"""Summary lines in words: which columns there are, which fit a terminal of 80, and which lines stand together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from coreselect_integrations.comparison.statistics import FULL, REFERENCE, WARM, Line, Record, Spread, lines

NONE = "-"
Column = Callable[[Line], str]


def percent(spread: Spread, digits: int = 1, sign: str = "") -> str:
    """Write a share in [0, 1] as percent, with its deviation."""
    return Spread(100 * spread.mean, 100 * spread.deviation, spread.n).words(digits, sign)


def points(line: Line) -> str:
    """Write the difference of robust accuracy to the reference, in points."""
    return NONE if line.against is None else percent(line.against.difference, 1, "+")


def chance(line: Line) -> str:
    """Write p."""
    p = None if line.against is None else line.against.p
    return NONE if p is None else "<.001" if p < 0.001 else f"{p:.3f}"


def seeds(line: Line) -> str:
    """Write how many seeds finished, and how many did not."""
    return str(line.seeds) + (f" ({line.failed} failed)" if line.failed else "")


def or_none(spread: Spread | None, pattern: str) -> str:
    """Write a mean, where there is one."""
    return NONE if spread is None else pattern.format(spread.mean)


def short(seconds: float) -> str:
    """Write seconds in as many digits as matter."""
    return f"{seconds:.2f}" if seconds < 1 else f"{seconds:.1f}" if seconds < 100 else f"{seconds:,.0f}"


WIDE: Mapping[str, Column] = MappingProxyType(
    {
        "method": lambda line: line.method,
        "seeds": seeds,
        "epochs": lambda line: f"{line.epochs.mean:.0f}",
        "standard %": lambda line: percent(line.standard),
        "robust %": lambda line: percent(line.robust),
        f"− {REFERENCE}": points,
        "p": chance,
        "train s": lambda line: short(line.train_seconds.mean),
        "select s": lambda line: short(line.select_seconds.mean),
        "speed-up": lambda line: or_none(
            line.speedup, "{:.2f}×" if line.speedup is None or line.speedup.mean < 10 else "{:.1f}×"
        ),
        "RD": lambda line: or_none(line.rd, "{:.4f}"),
        "seen %": lambda line: percent(line.seen, 0),
        "classes": lambda line: or_none(line.classes, "{:.1f}"),
    }
)
NARROW: Mapping[str, Column] = MappingProxyType(
    {
        "method": WIDE["method"],
        "std %": lambda line: f"{100 * line.standard.mean:.1f}",
        "robust %": WIDE["robust %"],
        f"− {REFERENCE}": points,
        "p": chance,
        "train s": WIDE["train s"],
        "select s": WIDE["select s"],
        "speed": WIDE["speed-up"],
    }
)


def filled(columns: Mapping[str, Column], found: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Return names and rows of the columns in which any of the lines has something to say."""
    written = {name: [column(line) for line in found] for name, column in columns.items()}
    kept = {name: words for name, words in written.items() if any(word != NONE for word in words)}
    return list(kept), [list(row) for row in zip(*kept.values(), strict=True)]


def parts(found: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Return names and rows of a table of the seconds that each part of selecting took."""
    names = list(dict.fromkeys(part for line in found for part in line.selection))
    rows = [
        [line.method, *(short(line.selection[part]) if part in line.selection else NONE for part in names)]
        for line in found
        if line.selection
    ]
    return ["method", *names], rows


def heading(line: Line) -> str:
    """Say what a block of lines has in common."""
    part = "the whole pool" if line.fraction is None else f"{100 * line.fraction:g} % of the pool"
    judged = "" if line.judged == "trained" else f", judged by {line.judged}"
    return f"{part}, equal {line.equal}{judged}"


def blocks(records: Sequence[Record]) -> list[tuple[str, list[Line]]]:
    """Group summary lines under headings; warm and full runs stand in every block of their judgement."""
    found = lines(records)
    whole = [line for line in found if line.method in (FULL, WARM)]
    out: dict[str, list[Line]] = {}
    for line in found:
        if line.method not in (FULL, WARM):
            out.setdefault(heading(line), [w for w in whole if w.judged == line.judged]).append(line)
    for line in () if out else whole:
        out.setdefault(heading(line), []).append(line)
    return list(out.items())

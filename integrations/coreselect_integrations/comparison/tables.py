"""Tables of summary lines: all columns, the columns that fit a terminal of 80 characters, and the blocks of lines."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

from coreselect_integrations.comparison.statistics import FULL, REFERENCE, WARM, Line, MeanStd, Paired, Record, lines

NONE = "-"
Column = Callable[[Line], str]


def percent(value: MeanStd, digits: int = 1, sign: str = "") -> str:
    """Write a share in [0, 1] as per cent, with its deviation."""
    return MeanStd(100 * value.mean, 100 * value.deviation, value.n).text(digits, sign)


def points(found: Paired | None) -> str:
    """Write the difference of robust accuracy to the reference, in percentage points."""
    return NONE if found is None else percent(found.difference, 1, "+")


def gap(line: Line) -> str:
    """Write by how many points the hardest attack is below PGD-20: where it is much more than elsewhere, gradients are masked."""
    harder = [found.mean for found in (line.margin, line.autoattack) if found is not None]
    return f"{100 * (line.robust.mean - min(harder)):.1f}" if harder else NONE


def p_value(p: float | None) -> str:
    """Write a p value."""
    return NONE if p is None else "<.001" if p < 0.001 else f"{p:.3f}"


def corrected_p(line: Line) -> str:
    """Write p, corrected for the number of comparisons, or that the line has only seeds on which settings were chosen."""
    return "expl." if line.exploratory else p_value(line.tested and line.tested.corrected)


def visible(line: Line) -> str:
    """Write the smallest difference that the seeds of a line can tell, in percentage points."""
    seen = line.tested and line.tested.visible
    return NONE if seen is None else f"{100 * seen:.1f}"


def what_can_be_seen(found: Sequence[Line]) -> str:
    """Say in a sentence which differences the seeds of a table can tell; empty if no line has two seeds beside the reference's."""
    tested = [line.tested for line in found if line.tested is not None and line.tested.visible is not None]
    if not tested:
        return ""
    sizes, counts = sorted(100 * (one.visible or 0.0) for one in tested), sorted({one.difference.n for one in tested})
    fresh = "fresh " if any(line.confirmed is not None for line in found) else ""
    many = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
    least, middle, most = (f"{size:.1f}" for size in (sizes[0], statistics.median(sizes), sizes[-1]))
    points = f"{least} points" if least == most else f"{least} to {most} points, median {middle}"
    return f"The smallest difference that {many} {fresh}seeds can tell: {points}."


def seeds(line: Line) -> str:
    """Write how many seeds finished, and how many failed."""
    return str(line.seeds) + (f" ({line.failed} failed)" if line.failed else "")


def or_none(value: MeanStd | None, pattern: str) -> str:
    """Write a mean, or a dash if there is none."""
    return NONE if value is None else pattern.format(value.mean)


def short(seconds: float) -> str:
    """Write seconds with a sensible number of digits."""
    return f"{seconds:.2f}" if seconds < 1 else f"{seconds:.1f}" if seconds < 100 else f"{seconds:,.0f}"


WIDE: Mapping[str, Column] = MappingProxyType(
    {
        "method": lambda line: line.method,
        "seeds": seeds,
        "epochs": lambda line: f"{line.epochs.mean:.0f}",
        "standard %": lambda line: percent(line.standard),
        "robust %": lambda line: percent(line.robust),
        "margin %": lambda line: NONE if line.margin is None else percent(line.margin),
        "AA %": lambda line: NONE if line.autoattack is None else percent(line.autoattack),
        "gap": gap,
        "CA %": lambda line: NONE if line.corruptions is None else percent(line.corruptions),
        f"− {REFERENCE}": lambda line: points(line.against),
        "fresh seeds": lambda line: points(line.confirmed),
        "p": lambda line: p_value(line.tested and line.tested.p),
        "p, Holm": corrected_p,
        "visible": visible,
        "train s": lambda line: short(line.train_seconds.mean),
        "select s": lambda line: short(line.select_seconds.mean),
        "speed-up": lambda line: (
            NONE if line.speedup is None else f"{line.speedup:.2f}×" if line.speedup < 10 else f"{line.speedup:.1f}×"
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
        "margin %": lambda line: NONE if line.margin is None else f"{100 * line.margin.mean:.1f}",
        "AA %": lambda line: NONE if line.autoattack is None else f"{100 * line.autoattack.mean:.1f}",
        "gap": gap,
        "CA %": lambda line: NONE if line.corruptions is None else f"{100 * line.corruptions.mean:.1f}",
        f"− {REFERENCE}": lambda line: points(line.tested or line.against),
        "Holm": corrected_p,
        "train s": WIDE["train s"],
        "select s": WIDE["select s"],
        "speed": WIDE["speed-up"],
    }
)


def nonempty_columns(columns: Mapping[str, Column], found: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Return the names and rows of the columns that have a value for at least one line."""
    written = {name: [column(line) for line in found] for name, column in columns.items()}
    kept = {name: words for name, words in written.items() if any(word != NONE for word in words)}
    return list(kept), [list(row) for row in zip(*kept.values(), strict=True)]


def seconds_by_part(found: Sequence[Line]) -> tuple[list[str], list[list[str]]]:
    """Return the names and rows of a table of the seconds of each part of selection."""
    names = list(dict.fromkeys(part for line in found for part in line.selection))
    rows = [
        [line.method, *(short(line.selection[part]) if part in line.selection else NONE for part in names)]
        for line in found
        if line.selection
    ]
    return ["method", *names], rows


def heading(line: Line) -> str:
    """Write what the lines of a block have in common."""
    part = "the whole pool" if line.fraction is None else f"{100 * line.fraction:g} % of the pool"
    evaluation = "" if line.evaluation == "trained" else f", judged by {line.evaluation}"
    return f"{part}, equal {line.equal}{evaluation}"


def blocks(records: Sequence[Record], chosen_on: Collection[int] = ()) -> list[tuple[str, list[Line]]]:
    """Group summary lines under headings; warm and full runs are in every block with the same evaluation."""
    found = lines(records, chosen_on)
    whole = [line for line in found if line.method in (FULL, WARM)]
    out: dict[str, list[Line]] = {}
    for line in found:
        if line.method not in (FULL, WARM):
            out.setdefault(heading(line), [w for w in whole if w.evaluation == line.evaluation]).append(line)
    for line in () if out else whole:
        out.setdefault(heading(line), []).append(line)
    return list(out.items())

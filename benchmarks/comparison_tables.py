"""The tables of docs/results, made of the records of a comparison: one for each fraction and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from coreselect_integrations.comparison.plan import TRAINED
from coreselect_integrations.comparison.statistics import FULL, REFERENCE, WARM, Line, lines
from coreselect_integrations.comparison.tables import NONE, WIDE, short, what_can_be_seen

_AGAINST = (f"− {REFERENCE}", "p")
EPOCHS: Mapping[str, Callable[[Line], str]] = {
    **{name: WIDE[name] for name in ("method", "standard %", "robust %", *_AGAINST, "RD", "seen %")},
    "s": lambda line: short(line.train_seconds.mean + line.select_seconds.mean),
    "of them selecting": lambda line: short(line.select_seconds.mean),
}
TIME = {name: WIDE[name] for name in ("epochs", "standard %", "robust %", *_AGAINST)}
MARGIN = {"margin %": WIDE["margin %"]}  # of comparisons that measured it


def tables(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a table with its heading for each fraction and evaluation: equal epochs, and equal time if it was run.

    Below a table stands the smallest difference that its seeds can tell at equal epochs.
    """
    found = {(line.fraction, line.evaluation, line.method, line.equal): line for line in lines(records)}
    methods = dict.fromkeys(r["method"] for r in records)
    for fraction, judged in sorted(
        {(f, j) for f, j, *_ in found if f is not None}, key=lambda key: (key[0], order(key[1]))
    ):
        timed = any(key[:2] == (fraction, judged) and key[3] == "time" for key in found)
        margin = MARGIN if any(line.margin is not None for line in found.values()) else {}
        columns, at_equal_time = {**EPOCHS, **margin}, {**TIME, **margin}
        rows = []
        for method in methods:
            one = found.get((None if method in (FULL, WARM) else fraction, judged, method, "epochs"))
            if one is not None:
                late = row(found.get((fraction, judged, method, "time")), at_equal_time) if timed else []
                rows.append([*row(one, columns), *late])
        head = [*columns, *(f"{name}, equal time" for name in at_equal_time if timed)]
        words = "" if judged == TRAINED else f", judged by {judged}"
        both = [head, ["---"] * len(head), *rows]
        told = what_can_be_seen([found[key] for key in found if key[:2] == (fraction, judged) and key[3] == "epochs"])
        table = "\n".join(f"| {' | '.join(line)} |" for line in both)
        yield f"**{100 * fraction:g} % of the pool{words}**\n\n{table}" + (told and f"\n\n*{told}*")


def row(line: Line | None, columns: Mapping[str, Callable[[Line], str]]) -> list[str]:
    """Write the columns of a line, or dashes without a line."""
    return [NONE if line is None else column(line) for column in columns.values()]


def order(judged: str) -> tuple[bool, bool, bool, str]:
    """Sort evaluations: `trained` first, then those on the data itself, then on other data; `slf` before `alf`."""
    return judged != TRAINED, "@" in judged, judged.startswith("alf"), judged

"""What a stored record of a cell must be to be believed: complete, of this cell, and with numbers that such numbers can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from coreselect_integrations.comparison.cell_run import EMPTY_RECORD
from coreselect_integrations.comparison.plan import Cell


def why_unbelievable(record: Any, cell: Cell) -> str | None:
    """Return what is wrong with the record of a finished cell, or None.

    Args:
        record: what was read from the cell's file.
        cell: which cell it should be of.
    """
    if not isinstance(record, Mapping):
        return f"it holds a {type(record).__name__}"
    missing = [name for name in ("error", *EMPTY_RECORD) if name not in record]
    if missing:
        return f"it has no {missing[0]!r}"
    for name, value in asdict(cell).items():
        if record.get(name) != value:
            return f"its {name} is {record.get(name)!r}, not {value!r}"
    for name, fits, needed in _FORMS:
        if not fits(record[name]):
            return f"its {name} is {str(record[name])[:60]!r}, {needed} is needed"
    accuracies = record["accuracy"]
    if not isinstance(accuracies, Mapping) or not all(isinstance(found, Mapping) for found in accuracies.values()):
        return "its accuracies are no table"
    for evaluation, found in accuracies.items():
        for name, value in found.items():
            if not (_count(value) if name == "n" else is_share(value)):
                return f"its accuracy {evaluation}, {name}, is {value!r}, a share from 0 to 1 is needed"
    return None


def is_share(value: Any) -> bool:
    """Return whether a value is a number from 0 to 1, as an accuracy is."""
    return _number(value) and 0 <= value <= 1


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _seconds(value: Any) -> bool:
    return _number(value) and value >= 0


_FORMS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("error", lambda v: v is None, "none"),
    ("epochs", _count, "a whole number"),
    *((name, _seconds, "a number of seconds") for name in ("warm_seconds", "train_seconds", "select_seconds")),
    ("selection", lambda v: isinstance(v, Mapping) and all(map(_seconds, v.values())), "seconds by part"),
    ("rd", lambda v: v is None or _number(v), "a number"),
    ("seen", lambda v: v is None or is_share(v), "a share from 0 to 1"),
    ("classes", lambda v: v is None or (_number(v) and v > 0), "a number above 0"),
    ("trouble", lambda v: isinstance(v, list) and all(isinstance(words, str) for words in v), "a list of texts"),
)  # fmt: skip

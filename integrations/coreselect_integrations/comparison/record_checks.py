"""What a stored record of a cell must be to be believed: complete, of this cell, and with numbers that such numbers can be."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any

from coreselect_integrations.comparison.cell_run import EMPTY_RECORD
from coreselect_integrations.comparison.plan import Cell


def why_unbelievable(record: Any, cell: Cell, tested: Mapping[str, int], also: Collection[str] = ()) -> str | None:
    """Return what is wrong with the record of a finished cell, or None.

    Args:
        record: what was read from the cell's file.
        cell: which cell it should be of.
        tested: the evaluations that every cell has, each with its number of test images.
        also: the accuracies that every evaluation has too, see `Study.also`.
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
    if accuracies.keys() != tested.keys():
        return f"its accuracies are of {_named(accuracies)}, and those of {_named(tested)} are needed"
    said = (_why_no_accuracies(found, tested[evaluation], also) for evaluation, found in accuracies.items())
    return next((f"its accuracy {name}, {why}" for name, why in zip(accuracies, said, strict=True) if why), None)


def _why_no_accuracies(found: Mapping[str, Any], n: int, also: Collection[str]) -> str | None:
    """Return what is wrong with the accuracies of one evaluation on n images, or None."""
    needed = ("standard", "robust", "n", *also)
    if found.keys() != set(needed):
        return f"has {_named(found)}, and {_named(needed)} are needed"
    for name, value in found.items():
        if name != "n" and not is_share(value):
            return f"{name}, is {value!r}, a share from 0 to 1 is needed"
    if not _count(found["n"]) or found["n"] != n:
        return f"n, is {found['n']!r}, and there are {n:,} test images"
    # another attack measures `standard` again, which may differ by an image where a device does not repeat itself
    if not {"margin", "autoattack"} & set(also) and found["robust"] > found["standard"]:
        return f"robust, is {found['robust']!r}, above standard, {found['standard']!r}, of the same images"
    return None


def _named(names: Collection[str]) -> str:
    """Write the names of a table."""
    return ", ".join(sorted(map(str, names)))[:120] or "nothing"


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

"""What the files of a race must hold to be believed: each has the numbers that are read from it, and they can be such numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from coreselect.errors import DataError
from coreselect_integrations.comparison.cell_files import read_json
from coreselect_integrations.comparison.record_checks import is_share


def believed(path: Path, why: Callable[[Mapping[str, Any]], str | None], way: str) -> dict[str, Any]:
    """Read a file of a race.

    Args:
        why: what was read → what is wrong with it, or None.
        way: what to do about a file that cannot be believed.
    Raises:
        DataError: it cannot be read, or not be believed.
    """
    held = read_json(path)
    if (wrong := why(held)) is not None:
        raise DataError(f"{path} is damaged or edited: {wrong}; {way}.")
    return held


def why_no_session(held: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the session of a process, or None."""
    return _why_wrong(held, ("began", "last"), _is_number, "a number of seconds") or (
        "it ends before it began" if held["last"] < held["began"] else None
    )


def why_no_spent(held: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the seconds that a run has spent, or None."""
    return _why_wrong(held, ("seconds",), _is_seconds, "a number of seconds")


def why_no_costs(
    held: Mapping[str, Any], efforts: Collection[str], kinds: Collection[str], others: Collection[str] = ("judging",)
) -> str | None:
    """Return what is wrong with the costs of a race, or None.

    Args:
        efforts: in words; each has the seconds of an image.
        kinds: of selections; each has the seconds of one.
        others: names of further seconds.
    """
    for name in ("image", "selection"):
        if not isinstance(held.get(name), Mapping):
            return f"it has no table {name!r}"
    return (
        _why_wrong(held["image"], efforts, lambda v: _is_seconds(v) and v > 0, "a number of seconds above 0")
        or _why_wrong(held["selection"], kinds, _is_seconds, "a number of seconds")
        or _why_wrong(held, others, _is_seconds, "a number of seconds")
    )


def why_no_plan(held: Mapping[str, Any], arms: Collection[str]) -> str | None:
    """Return what is wrong with the plan of a rung, or None.

    Args:
        arms: the names of those that run in it.
    """
    if held.keys() != set(arms):
        return f"it plans {_named(held)}, and {_named(arms)} run here"
    for name, told in held.items():
        if not isinstance(told, Mapping):
            return f"its {name!r} is {str(told)[:60]!r}, a table is needed"
        wrong = why_no_told(told, ("seconds", "judging"))
        if wrong is not None:
            return f"{name}: {wrong}"
    return None


def why_no_told(told: Mapping[str, Any], timed: Collection[str] = ("seconds",)) -> str | None:
    """Return what is wrong with the plan of one run, or None.

    Args:
        timed: the names of its numbers of seconds.
    """
    length = told.get("length")
    if not isinstance(length, Mapping) or length.keys() != {"epochs", "warmup", "every"}:
        return "it has no length in epochs, warmup and every"
    wrong = _why_wrong(length, length.keys(), _is_count, "a whole number")
    if wrong is None and not (length["epochs"] > length["warmup"] and length["every"] > 0):
        wrong = f"{dict(length)} is no length of a run"
    return wrong or _why_wrong(told, timed, _is_seconds, "a number of seconds")


def why_no_record(held: Mapping[str, Any], about: Mapping[str, Any], n: int) -> str | None:
    """Return what is wrong with the record of a run that has ended, or None.

    Args:
        about: what the run was given, by the names of the record.
        n: the number of images that judge.
    """
    for name, value in about.items():
        if name not in held or held[name] != value:
            return f"its {name} is {str(held.get(name))[:60]!r}, not {value!r}"
    wrong = _why_wrong(held, ("done", "examples", "n"), _is_count, "a whole number") or _why_wrong(
        held, ("seconds",), _is_seconds, "a number of seconds"
    )
    if wrong is not None:
        return wrong
    if held.get("error") is not None:
        failed = isinstance(held["error"], str) and held.get("robust") is None and held.get("standard") is None
        return None if failed else "it has an error and an accuracy"
    return _why_wrong(held, ("robust", "standard"), is_share, "a share from 0 to 1") or _why_not_trained(held, n)


def _why_not_trained(held: Mapping[str, Any], n: int) -> str | None:
    """Return what is wrong with the record of a run without an error, whose accuracies are shares, or None."""
    right = held.get("right")
    if held["n"] != n or not isinstance(right, str) or len(right) != n or set(right) - {"0", "1"}:
        return f"it has no verdict of each of the {n:,} images that judge"
    if not math.isclose(held["robust"], right.count("1") / n, abs_tol=1e-9):
        return f"its robust is {held['robust']!r}, and {right.count('1')} of {n:,} images are right"
    if held["robust"] > held["standard"]:
        return f"its robust is {held['robust']!r}, above its standard, {held['standard']!r}"
    if not 0 < held["done"] <= held["epochs"] or held.get("cut") is not (held["done"] < held["epochs"]):
        return f"its done is {held['done']!r} of {held['epochs']!r} epochs, and its cut {held.get('cut')!r}"
    return _why_wrong(held, ("train_seconds",), lambda v: _is_seconds(v) and v > 0, "a number of seconds above 0") or (
        _why_wrong(held, ("judge_seconds",), _is_seconds, "a number of seconds")
    )


def _why_wrong(held: Mapping[str, Any], names: Collection[str], fits: Callable[[Any], bool], needed: str) -> str | None:
    """Return which of these values is missing or of another form, or None."""
    for name in names:
        if name not in held:
            return f"it has no {name!r}"
        if not fits(held[name]):
            return f"its {name} is {str(held[name])[:60]!r}, {needed} is needed"
    return None


def _named(names: Collection[str]) -> str:
    """Write the names of arms."""
    return ", ".join(map(repr, names))[:120] or "nothing"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_seconds(value: Any) -> bool:
    return _is_number(value) and value >= 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

"""The files of a comparison: the record of each cell, and the settings under which cells can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coreselect.errors import DataError, RequirementError
from coreselect.io.atomic import atomic_file
from coreselect_integrations.pretraining.settings import OLD_DEFAULTS

RECORD, TERMS, TRACEBACK = "cell.json", "study.json", "traceback.txt"
# What older versions used without writing it down; whether they were guarded, they had no word for.
OLD_TERMS = {name: value for name, value in OLD_DEFAULTS.items() if name != "guard"}


def check_terms(folder: Path, terms: Mapping[str, Any], *, name: str = TERMS, what: str = "comparison") -> None:
    """Write the settings that all cells share into a folder, or check that the folder has the same.

    Args:
        folder: of a comparison, or of what else is made of many runs.
        terms: the settings, JSON values.
        name, what: of the file, and what the folder holds, for messages.
    Raises:
        RequirementError: the settings differ.
        DataError: the file cannot be read, or the folder cannot be made.
    """
    path, ours = folder / name, json.loads(json.dumps(terms))
    if not path.exists():
        try:
            write_json(path, ours)
        except OSError as why:
            said = f"{folder} cannot be used as the folder of a {what} ({why.strerror}): give another folder."
            raise DataError(said) from why
        return
    theirs = read_json(path)
    if name == TERMS:
        theirs = {**{term: OLD_TERMS[term] for term in ours if term in OLD_TERMS}, **theirs}
    for term in (*ours, *theirs):
        if theirs.get(term) != ours.get(term):
            said = (
                f"{folder} holds a {what} with {term} {theirs.get(term)!r}, this one has {ours.get(term)!r}: "
                f"use the settings of the first {what}, or give another folder."
            )
            raise RequirementError(said)


def finished(path: Path) -> dict[str, Any] | None:
    """Read the record of a cell; None if there is none or the cell failed, because a failed cell is tried again."""
    if not path.exists():
        return None
    record = read_json(path)
    return record if record.get("error") is None else None


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a cell into its folder."""
    write_json(folder / RECORD, record)


def write_json(path: Path, held: Mapping[str, Any]) -> None:
    """Write a JSON file at once, so that no other process reads half of it."""
    with atomic_file(path) as file:
        file.write(json.dumps(held, indent=1).encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that a comparison wrote.

    Raises:
        DataError: the file is damaged.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(held, dict):
            raise ValueError("no object")
        return held
    except (ValueError, OSError, RecursionError) as why:
        said = f"{path} is not the JSON file of a comparison: remove it, and its part of the comparison runs again."
        raise DataError(said) from why

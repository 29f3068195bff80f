"""The files of a comparison: the record of each cell, and the settings under which cells can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coreselect.errors import DataError, RequirementError
from coreselect.io.atomic import atomic_file

RECORD, TERMS, TRACEBACK = "cell.json", "study.json", "traceback.txt"
OLD_TERMS = {"start": "uniform"}  # what older versions used without writing it down


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
            with atomic_file(path) as file:
                file.write(json.dumps(ours, indent=1).encode())
        except OSError as why:
            said = f"{folder} cannot be used as the folder of a {what} ({why.strerror}): give another folder."
            raise DataError(said) from why
        return
    theirs = {**OLD_TERMS, **read_json(path)} if name == TERMS else read_json(path)
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
    with atomic_file(folder / RECORD) as file:
        file.write(json.dumps(record).encode())


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

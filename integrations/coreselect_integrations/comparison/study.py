"""Compare selection methods on equal terms: all start from the same warm model, and all their costs are counted.

A cell is a method, a fraction, a seed and a kind of equality: equal epochs or equal time (`equal_time.py`). Each cell has a
folder. A finished cell is never run again, a failed cell is recorded as a result, and a killed cell continues.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import torch

from coreselect.data.reading import unpack
from coreselect.errors import DataError, RequirementError
from coreselect.io.file_names import LONGEST
from coreselect.io.fingerprint import fingerprint
from coreselect.support.bounds import check_range
from coreselect.support.devices import usable_device
from coreselect.task.datasets import first_range
from coreselect_integrations.comparison.cell_files import RECORD, TRACEBACK, check_terms, finished, write_record
from coreselect_integrations.comparison.cell_run import EMPTY_RECORD, run_cell
from coreselect_integrations.comparison.dealing import Dealing
from coreselect_integrations.comparison.equal_time import settings_of
from coreselect_integrations.comparison.plan import Cell, EvaluationMode, Runtime, Study, cells
from coreselect_integrations.comparison.record_checks import why_unbelievable
from coreselect_integrations.comparison.statistics import WARM

PARTS = ("train", "test")


def compare(
    study: Study,
    train: Any,
    test: Any,
    runtime: Runtime,
    others: Mapping[str, tuple[Any, Any]] = MappingProxyType({}),
    dealing: Dealing | None = None,
) -> list[dict[str, Any]]:
    """Run every cell that is not finished, and return the records of all cells.

    Args:
        study: what is compared. Methods, fractions and seeds may be added to those of an earlier call in the same folder.
        train: labelled map-style dataset; it is split into pool and validation.
        test: labelled; used for evaluation only.
        runtime: where and how the cells run.
        others: more (train, test) by name, for evaluations such as `alf@cifar100`.
        dealing: with the other processes that share the cells; process 0 returns all records, the others none.
    Returns:
        one record for each cell: the fields of the cell; `error` (None or a sentence); `accuracy` {evaluation: {standard,
        robust, n}} in [0, 1]; `epochs`; by the study's clock `train_seconds` and `select_seconds`, which include
        `warm_seconds`, those of the shared warm-up; `selection`, wall-clock seconds by part; `rd` of validation at the end;
        `seen`, the share of the pool since the warm-up; `classes`, exp(entropy) of the classes in the last selection;
        `trouble` in words.
    Raises:
        RequirementError: the folder holds a comparison with other settings, an evaluation names an unknown set, or the clock
            cannot measure the device.
        DataError: a file cannot be read, or the folder cannot be made.
        ScheduleError: see `Dealing.cells`.
    """
    sets = {"": (train, test), **others}
    _check(study, sets, runtime)
    prints = {
        f"{part}{name and '@'}{name}": fingerprint(held)
        for name in sets
        for part, held in zip(PARTS, sets[name], strict=True)
    }
    check_terms(runtime.folder, {**study.terms(), **prints})
    todo, records = list(cells(study)), dict[Cell, dict[str, Any]]()
    for cell, needed in ((c, None) for c in todo) if dealing is None else dealing.cells(todo):
        if runtime.began is not None:
            runtime.began(cell, len(records) if dealing is None else dealing.number, len(todo))
        before = list(records.values()) if needed is None else needed
        records[cell], fresh = _finish(cell, study, sets, runtime, before)
        if dealing is not None:
            dealing.done(cell, records[cell])
        if runtime.ended is not None:
            runtime.ended(records[cell], fresh)
    return list(records.values()) if dealing is None else dealing.records(todo)


def _check(study: Study, sets: Mapping[str, Any], runtime: Runtime) -> None:
    """Check that the clock, the evaluations and the names of folders can be used.

    Raises:
        OutOfBoundsError: the first image of a set lies outside [0, 1].
        RequirementError: see `compare`; or two cells would share a folder, or a folder's name is too long.
    """
    where = torch.device(runtime.device or "cpu")
    if study.clock == "cpu" and where.type != "cpu":
        why = f"the processor's clock cannot measure a {where.type} device: use the clock wall there."
        raise RequirementError(why)
    usable_device(where)
    for evaluation in study.judged:
        if (name := EvaluationMode.parse(evaluation).where) not in sets:
            why = f"no set is called {name!r}, which the evaluation {evaluation!r} needs: give it by --transfer, or in others."
            raise RequirementError(why)
    for name, both in sets.items():
        for part, held in zip(PARTS, both, strict=True):
            if (seen := first_range(held, unpack)) is not None:
                check_range(
                    seen, (0.0, 1.0), f"{part} inputs" + (name and f" of {name}"), "every attack of a comparison"
                )
    names = [cell.name for cell in cells(study)]
    for name in names:
        if names.count(name) > 1 or len(name) > LONGEST:
            why = f"two methods would use the folder {name[:60]!r}…, or its name is longer than {LONGEST} characters: rename them."
            raise RequirementError(why)


def _finish(
    cell: Cell, study: Study, sets: Mapping[str, tuple[Any, Any]], runtime: Runtime, before: list[dict[str, Any]]
) -> tuple[dict[str, Any], bool]:
    """Return the record of a cell, and whether the cell was run now; an error of the cell, or of what is stored of it, is in it."""
    folder = runtime.folder / cell.name
    record, fresh = None, False
    try:
        record = finished(folder / RECORD)
        tested = {name: len(sets[EvaluationMode.parse(name).where][1]) for name in study.judged}
        if record is not None and (wrong := why_unbelievable(record, cell, tested, study.also)) is not None:
            said = f"{folder / RECORD} is damaged or edited: {wrong}; the next call measures the cell again."
            raise DataError(said)
        settings = settings_of(cell, study, before)
        if record is None or record["epochs"] != (settings.warmup if cell.method == WARM else settings.epochs):
            fresh, record = True, run_cell(cell, settings, study, sets, runtime, before)
    except Exception as why:  # whatever a method does, the others are still compared
        fresh, said = True, " ".join(str(why).split())
        record = {**asdict(cell), **EMPTY_RECORD, "error": f"{type(why).__name__}: {said}"}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / TRACEBACK).write_text(traceback.format_exc(), encoding="utf-8", errors="backslashreplace")
    if fresh:
        write_record(folder, record)
    return record, fresh

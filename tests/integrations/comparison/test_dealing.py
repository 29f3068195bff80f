"""Processes that share the cells of a comparison end with the records of one process, and wait only for what they build on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from tiny_runs import images, tiny
from torch.distributed import FileStore, HashStore  # pyright: ignore[reportPrivateImportUsage]  # documented

from coreselect.errors import RequirementError, ScheduleError
from coreselect_integrations.comparison import Cell, Runtime, Study, compare
from coreselect_integrations.comparison.dealing import Dealing, builds_on
from coreselect_integrations.comparison.methods import selector_for
from coreselect_integrations.comparison.plan import cells
from coreselect_integrations.comparison.statistics import WARM

TIMES = ("warm_seconds", "train_seconds", "select_seconds", "selection")


def _make(name: str, settings: Any) -> Any:
    if name == "broken":
        raise RequirementError("this method is broken.")
    return selector_for(name, settings)


def _own(name: str, settings: Any) -> Any:
    return settings


def _study(**changes: Any) -> Study:
    study = Study(tiny("standard", validation=10, rd_steps=1), ("rs2", "broken", "random"), (0.25,), (0, 1), make=_make)
    return replace(study, own=_own, **changes)


def _run(folder: Path, dealing: Dealing | None = None) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    return compare(_study(), images(40), images(8, seed=9), Runtime(folder), dealing=dealing)


def _process(rank: int, folder: str, out: Any) -> None:
    out.put((rank, _run(Path(folder) / "cells", Dealing(FileStore(f"{folder}/store", 2), rank, 2))))


@pytest.mark.slow  # two interpreters train and evaluate eight cells
def test_processes_end_with_the_records_of_one(tmp_path: Path) -> None:
    """All but the times is equal, cell by cell, a failed cell too; process 0 has the records, and each cell has run once."""
    context = mp.get_context("spawn")
    out: Any = context.Queue()
    processes = [context.Process(target=_process, args=(r, str(tmp_path), out)) for r in range(2)]
    for process in processes:
        process.start()
    found = dict(out.get(timeout=240) for _ in processes)
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    alone = _run(tmp_path / "alone")
    assert found[1] == []
    assert [r["error"] is None for r in alone] == [r["method"] != "broken" for r in alone]
    for one, many in zip(alone, found[0], strict=True):
        assert {k: v for k, v in one.items() if k not in TIMES} == {k: v for k, v in many.items() if k not in TIMES}


def test_cells_come_after_those_that_they_build_on() -> None:
    """Every cell but a warm-up needs that of its seed; at equal time it needs all of its share and seed at equal epochs."""
    todo = list(cells(_study(equal=("epochs", "time"))))
    taken = []
    dealing = Dealing(HashStore(), 0, 1)
    for cell, needed in dealing.cells(todo):
        assert len(needed) == sum(builds_on(cell, other) for other in todo)
        taken.append(cell)
        for other in todo:
            assert not builds_on(cell, other) or other in taken
        dealing.done(cell, {"cell": cell.name})
    assert sorted(c.name for c in taken) == sorted(c.name for c in todo)
    assert [c.method for c in taken[:2]] == [WARM, WARM]
    assert [r["cell"] for r in dealing.records(todo)] == [c.name for c in todo]
    timed = Cell("rs2", 0.25, 1, "time")
    assert {c.method for c in todo if builds_on(timed, c)} == {WARM, "rs2", "broken", "random"}


def test_a_process_that_ends_in_a_cell_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for its cell is told, and does not wait for ever."""
    store, cell = HashStore(), Cell(WARM, None, 0)
    monkeypatch.setattr("coreselect_integrations.comparison.dealing.has_ended", lambda process: process == "gone")
    store.set(f"owner of {cell.name}", "1 gone")
    with pytest.raises(ScheduleError, match=rf"rank 1 has ended in the cell {cell.name}"):
        Dealing(store, 0, 2).record(cell)

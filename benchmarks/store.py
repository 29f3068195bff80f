"""A sweep whose records are kept in a folder, compared with the same sweep without; then a sweep that goes on after 90 %.

Two sweeps of one snapshot take turns, batch by batch: one makes each record, the other makes and keeps it. What opening the store
costs (its lock, a digest of the weights, its header) counts for the store. Then the last tenth of the records is cut off, as a
kill would do, and the sweep goes on: it reads nine tenths and makes the rest.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from benchmarks import problem
from benchmarks.case_types import StoreCase
from benchmarks.meter import Meter
from coreselect import Task, holdout
from coreselect.gradients.parts import Batches, Key, Make, Parts, Record
from coreselect.gradients.row_store import FolderStore
from coreselect.io.record_log import RecordLog
from coreselect.task.identity import run_of
from coreselect.task.model_snapshot import ModelSnapshot

LEFT = 0.1  # of the batches, after the kill


def run(case: StoreCase, *, data: str, work: Path) -> dict[str, Any]:
    """Measure one case: `overhead` is kept / plain − 1, `resumed` is what going on costs / a whole plain sweep."""
    dataset = problem.images(data, case.pool + case.validation)
    pool, validation = holdout(dataset, size=case.validation, seed=case.seed)
    task = Task.from_model(
        problem.network(), pool, validation, loss="sat", attack=case.attack, batch_size=case.batch_size
    )
    work.mkdir(parents=True, exist_ok=True)
    with Meter() as meter, TemporaryDirectory(dir=work) as folder, task.snapshot(case.seed, 0) as shot:
        assert isinstance(shot, ModelSnapshot)  # the task has a model
        shot.restrict(np.arange(case.batch_size)).features()  # the first pass chooses kernels and fills caches
        both = Both(shot, Path(folder), meter)
        shot.context.parts = both
        _ = shot.features() if case.sweep == "features" else shot.attacked_logits()
        size = sum(path.stat().st_size for path in Path(folder).glob("*.rows"))
    return {
        **_ratios(meter.seconds, ""),
        **_ratios(meter.cpu_seconds, "cpu_"),
        "same_bits": float(both.same),
        "stored_mib": size / 2**20,
        **meter.record(),
    }


def _ratios(seconds: dict[str, float], prefix: str) -> dict[str, float]:
    plain = seconds["plain"]
    return {f"{prefix}overhead": seconds["kept"] / plain - 1, f"{prefix}resumed": seconds["going on"] / plain}


class Both:
    """A `Parts` that makes every record twice, in turns: plainly, and through a store in a folder."""

    def __init__(self, shot: ModelSnapshot, folder: Path, meter: Meter) -> None:
        self.same = True
        self._shot, self._store, self._folder, self._meter = shot, FolderStore(folder), folder, meter

    def __call__(self, key: Key, batches: Batches, make: Make) -> Iterator[Record]:
        plain, whole = make(batches), list[Record]()
        with self._open("kept") as parts:
            kept = parts(key, batches, make)
            for number in range(len(batches)):
                made: dict[str, Record] = {}
                for name, source in ((("plain", plain), ("kept", kept)), (("kept", kept), ("plain", plain)))[
                    number % 2
                ]:
                    with self._meter(name):
                        made[name] = next(source)
                self._compare(made["plain"], made["kept"])
                whole.append(made["kept"])
            with self._meter("kept"):
                list(kept)  # closes the file
        (path,) = self._folder.glob("*.rows")
        with RecordLog(path) as log:
            log._drop_from(len(log) - max(1, round(LEFT * len(log))))
        with self._open("going on") as parts, self._meter("going on"):
            again = list(parts(key, batches, make))
        for one, other in zip(whole, again, strict=True):
            self._compare(one, other)
        yield from whole

    @contextmanager
    def _open(self, name: str) -> Iterator[Parts]:
        """Open the store as a selection does, in the time of a part."""
        shot = self._shot
        with ExitStack() as stack:
            with self._meter(name):
                run = run_of(shot.task, shot.model, shot.context)
                parts = stack.enter_context(self._store.opened(run, shot.device))
            yield parts

    def _compare(self, one: Record, other: Record) -> None:
        self.same &= one.keys() == other.keys() and all(torch.equal(t, other[name]) for name, t in one.items())

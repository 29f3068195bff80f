"""Methods of choosing compared on equal terms: every one begins at the same warm model, and everything it costs is counted.

A cell is a method, a fraction, a seed and a way of being equal. At equal epochs all train as long; at equal time each gets
as many epochs as fit into the wall-clock time, selection included, that the slowest of them took at equal epochs:

    E' = ⌊e · T / c⌋,  e epochs after the warm-up, c seconds they took (selection included), T = max c over the methods

so the slowest has its cell already. A cell lives in a folder: a finished one is never run again, a failed one is a recorded
result, a killed one goes on.
"""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from coreselect import holdout
from coreselect.errors import DataError, RequirementError
from coreselect.io.atomic import atomic_file
from coreselect.io.fingerprint import fingerprint
from coreselect_integrations.comparison.measures import Ground, measure
from coreselect_integrations.comparison.plan import CLOCKS, Cell, Judged, Runtime, Study, cells
from coreselect_integrations.comparison.statistics import FULL, WARM
from coreselect_integrations.pretraining.run import pretrain
from coreselect_integrations.pretraining.settings import Settings

RECORD, TERMS, TRACEBACK = "cell.json", "study.json", "traceback.txt"
PARTS = ("train", "test")
LONGEST = 200  # letters of a folder's name, which file systems take 255 of
NOTHING: dict[str, Any] = {
    "error": None, "accuracy": {}, "epochs": 0, "warm_seconds": 0.0, "train_seconds": 0.0, "select_seconds": 0.0,
    "selection": {}, "rd": None, "seen": None, "classes": None, "trouble": [],
}  # fmt: skip


def compare(
    study: Study, train: Any, test: Any, runtime: Runtime, others: Mapping[str, tuple[Any, Any]] = MappingProxyType({})
) -> list[dict[str, Any]]:
    """Run every cell that is not finished, and return the records of all.

    Args:
        study: what is compared; methods, fractions and seeds may be added to those that a folder holds already.
        train: labelled map-style dataset; pool and validation are cut from it.
        test: labelled; read for evaluation alone.
        runtime: where.
        others: further (train, test) by name, for `judged` such as `alf@cifar100`.
    Returns:
        one record a cell: its names, `error` (None or a sentence), `accuracy` {judged: {standard, robust, n}} in [0, 1],
        `epochs`, by the study's clock `train_seconds` and `select_seconds` (the shared warm-up's `warm_seconds` included),
        `selection` seconds of the wall by part, `rd` of validation at the end, `seen` share of the pool since the warm-up,
        `classes` as exp(entropy) of the last selection's, `trouble` in words.
    Raises:
        RequirementError: the folder holds a comparison under other terms, there is no set to judge on by a name, or the clock
            does not see the device.
        DataError: what is there cannot be read, or there can be no such folder.
    """
    where = torch.device(runtime.device or "cpu")
    if study.clock == "cpu" and where.type != "cpu":
        why = f"the processor's clock does not see what a {where.type} device does: count seconds of the wall there."
        raise RequirementError(why)
    sets = {"": (train, test), **others}
    for judged in study.judged:
        if (name := Judged.named(judged).where) not in sets:
            why = f"no set is called {name!r}, on which {judged!r} judges: give it by --transfer, or in others."
            raise RequirementError(why)
    names = [cell.name for cell in cells(study)]
    for name in names:
        if names.count(name) > 1 or len(name) > LONGEST:
            why = f"a folder {name[:60]!r}… would serve two methods, or its name has more than {LONGEST} letters: rename them."
            raise RequirementError(why)
    prints = {
        f"{part}{name and '@'}{name}": fingerprint(held)
        for name in sets
        for part, held in zip(PARTS, sets[name], strict=True)
    }
    claim(runtime.folder, {**study.terms(), **prints})
    records: list[dict[str, Any]] = []
    todo = list(cells(study))
    for cell in todo:
        if runtime.began is not None:
            runtime.began(cell, len(records), len(todo))
        folder = runtime.folder / cell.name
        record, fresh = finished(folder / RECORD), False
        try:
            settings = settings_of(cell, study, records)
            if record is None or record["epochs"] != (settings.warmup if cell.method == WARM else settings.epochs):
                fresh, record = True, run_cell(cell, settings, study, sets, runtime, records)
        except Exception as why:  # whatever a method does, the others are still compared
            fresh, said = True, " ".join(str(why).split())
            record = {**asdict(cell), **NOTHING, "error": f"{type(why).__name__}: {said}"}
            folder.mkdir(parents=True, exist_ok=True)
            (folder / TRACEBACK).write_text(traceback.format_exc(), encoding="utf-8")
        if fresh:
            with atomic_file(folder / RECORD) as file:
                file.write(json.dumps(record).encode())
        records.append(record)
        if runtime.ended is not None:
            runtime.ended(record, fresh)
    return records


def claim(folder: Path, terms: Mapping[str, Any]) -> None:
    """Write down under which terms the cells of a folder are comparable, or hold ours against those that are there.

    Raises:
        RequirementError: they differ.
        DataError: the file cannot be read, or the folder cannot be made.
    """
    path, ours = folder / TERMS, json.loads(json.dumps(terms))
    if not path.exists():
        try:
            with atomic_file(path) as file:
                file.write(json.dumps(ours, indent=1).encode())
        except OSError as why:
            said = f"{folder} cannot be the folder of a comparison ({why.strerror}): give another."
            raise DataError(said) from why
        return
    theirs = read(path)
    for name in (*ours, *theirs):
        if theirs.get(name) != ours.get(name):
            said = (
                f"{folder} holds a comparison with {name} {theirs.get(name)!r}, this one has {ours.get(name)!r}: go on with "
                "those of the first, or give another folder."
            )
            raise RequirementError(said)


def read(path: Path) -> dict[str, Any]:
    """Read a JSON file that a comparison wrote.

    Raises:
        DataError: it is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as why:
        said = f"{path} is not the JSON that a comparison writes: remove it, and what it stood for is run again."
        raise DataError(said) from why
    return found


def finished(path: Path) -> dict[str, Any] | None:
    """Read a cell's record, unless there is none or it failed: what failed is tried again."""
    if not path.exists():
        return None
    record = read(path)
    return record if record["error"] is None else None


def settings_of(cell: Cell, study: Study, before: Sequence[Mapping[str, Any]]) -> Settings:
    """Return the settings of a cell; at equal time what counts epochs of a curve keeps its share of the run."""
    own = study.settings if cell.method in (FULL, WARM) else study.own(cell.method, study.settings)
    if cell.equal == "time":
        longer = own.over(own.warmup + affordable(cell, study, before))
        own = replace(longer, warmup=own.warmup, every=own.every, lr_warmup=own.lr_warmup)
    return replace(own, seed=cell.seed, fraction=own.fraction if cell.fraction is None else cell.fraction)


def affordable(cell: Cell, study: Study, before: Sequence[Mapping[str, Any]]) -> int:
    """Return E', how many epochs after the warm-up a method may train at equal time.

    Raises:
        RequirementError: it failed at equal epochs.
    """
    own = study.settings.epochs - study.settings.warmup
    took = {
        r["method"]: after_warm_up(r)
        for r in before
        if r["error"] is None and (r["fraction"], r["seed"], r["equal"]) == (cell.fraction, cell.seed, "epochs")
    }
    if cell.method not in took:
        why = f"{cell.method} failed at equal epochs, so that what it takes is not known: see why it did."
        raise RequirementError(why)
    return math.floor(own * (max(took.values()) / took[cell.method]))


def after_warm_up(record: Mapping[str, Any]) -> float:
    """Seconds of training and selecting without the warm-up that all share."""
    return record["train_seconds"] + record["select_seconds"] - record["warm_seconds"]


def run_cell(
    cell: Cell,
    settings: Settings,
    study: Study,
    sets: Mapping[str, tuple[Any, Any]],
    runtime: Runtime,
    before: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Train one method from the seed's warm model, judge it, and write down everything it cost."""
    if cell.equal == "time" and settings.epochs == study.settings.epochs:  # the slowest: nothing would differ
        same = (cell.method, cell.fraction, cell.seed, "epochs")
        known = next(r for r in before if (r["method"], r["fraction"], r["seed"], r["equal"]) == same)
        return {**known, "equal": cell.equal}
    held = settings.validation
    pool, validation = holdout(sets[""][0], int(held) if held >= 1 else held, cell.seed)
    common: dict[str, Any] = {
        "num_workers": runtime.num_workers, "select_batch_size": runtime.select_batch_size, "device": runtime.device,
        "progress": runtime.progress,
    }  # fmt: skip
    warm = runtime.folder / f"warm-seed{cell.seed}"
    plain = replace(study.settings, seed=cell.seed)
    result = warmed = pretrain(plain, pool, validation, warm, until=settings.warmup, **common)
    folder = warm
    if cell.method != WARM:
        folder = runtime.folder / cell.name
        if cell.equal == "time":  # once a method is added that takes longer, others get more epochs: another run
            folder = folder / f"epochs{settings.epochs}"
        selector = None if cell.method == FULL else study.make(cell.method, settings)
        start = warm if settings.warmup else None
        result = pretrain(settings, pool, validation, folder, selector=selector, start=start, **common)
    parts: dict[str, float] = {}
    for record in result.records:
        for part, seconds in record["selection"].items():
            parts[part] = parts.get(part, 0.0) + seconds
    of = CLOCKS[study.clock]
    ground = Ground(pool, validation, {**sets, "": (pool, sets[""][1])}, folder)
    return {
        **asdict(cell), **NOTHING, **measure(result, ground, study, settings, runtime), "epochs": len(result.records),
        "warm_seconds": sum(r[f"{of}seconds"] for r in warmed.records), "selection": parts,
        "train_seconds": sum(r[f"{of}seconds"] for r in result.records),
        "select_seconds": sum(r[f"select_{of}seconds"] for r in result.records),
        "seen": result.records[-1]["seen"] if result.records else 0.0,
        "trouble": sorted({words.split(" (")[0] for r in result.records for words in r["trouble"]}),
    }  # fmt: skip

"""Run one cell of a comparison: train from the warm model of its seed, measure the network, and record all costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from coreselect.io.sole_use import sole_use
from coreselect_integrations.comparison.measures import CellData, measure
from coreselect_integrations.comparison.picks import shares_of_picks
from coreselect_integrations.comparison.plan import CLOCKS, Cell, Runtime, Study
from coreselect_integrations.comparison.statistics import FULL, WARM
from coreselect_integrations.pretraining.run import pretrain
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.pretraining.watch import guard_seconds

EMPTY_RECORD: dict[str, Any] = {
    "error": None, "accuracy": {}, "epochs": 0, "warm_seconds": 0.0, "train_seconds": 0.0, "select_seconds": 0.0,
    "selection": {}, "rd": None, "seen": None, "classes": None, "trouble": [],
}  # fmt: skip


def run_cell(
    cell: Cell,
    settings: Settings,
    study: Study,
    sets: Mapping[str, tuple[Any, Any]],
    runtime: Runtime,
    before: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Train one method from the warm model of its seed, measure the network, and return the record with all costs.

    Args:
        before: the records of the cells before this one.
    """
    if (
        cell.equal == "time" and settings.epochs == study.settings.epochs
    ):  # the slowest method: the run would be the same
        same = (cell.method, cell.fraction, cell.seed, "epochs")
        known = next(r for r in before if (r["method"], r["fraction"], r["seed"], r["equal"]) == same)
        return {**known, "equal": cell.equal}
    pool, validation = study.division.split(sets[""][0], settings.validation, cell.seed)
    common: dict[str, Any] = {
        "num_workers": runtime.num_workers, "timeout": runtime.timeout, "select_batch_size": runtime.select_batch_size,
        "device": runtime.device, "progress": runtime.progress, "weights": study.start,
        "division": study.division.record(cell.seed),
    }  # fmt: skip
    features = study.reads_features(settings)
    warm = runtime.folder / (f"warm-seed{cell.seed}" + ("-features" if features else ""))
    plain = replace(study.settings, seed=cell.seed)
    with sole_use(warm, patient=True):  # processes that share a comparison read one warm model
        result = warmed = pretrain(
            plain, pool, validation, warm, until=settings.warmup, record_features=features, **common
        )
    folder = warm
    if cell.method != WARM:
        folder = runtime.folder / cell.name
        if cell.equal == "time":  # if a slower method is added later, the others get more epochs in a new run
            folder = folder / f"epochs{settings.epochs}"
        selector = None if cell.method == FULL else study.make(cell.method, settings)
        start = warm if settings.warmup else None
        result = pretrain(settings, pool, validation, folder, selector=selector, start=start, **common)
    parts: dict[str, float] = {}
    for record in result.records:
        for part, seconds in record["selection"].items():
            parts[part] = parts.get(part, 0.0) + seconds
    clock = CLOCKS[study.clock]

    def trained_for(record: Mapping[str, Any]) -> float:
        name = f"{clock}seconds"
        return record[name] + guard_seconds(record, name)

    data = CellData(pool, validation, {**sets, "": (pool, sets[""][1])}, folder)
    return {
        **asdict(cell), **EMPTY_RECORD, **measure(result, data, study, settings, runtime), "epochs": len(result.records),
        "warm_seconds": sum(map(trained_for, warmed.records)), "selection": parts,
        "train_seconds": sum(map(trained_for, result.records)),
        "select_seconds": sum(r[f"select_{clock}seconds"] for r in result.records),
        "seen": result.records[-1]["seen"] if result.records else 0.0,
        "trouble": sorted({words.split(" (")[0] for r in result.records for words in r["trouble"]}),
        **shares_of_picks(pool, result.records),
    }  # fmt: skip

"""What a run writes down: what it is, in its folder, and what an epoch did, in its log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from coreselect import Selection, Selector
from coreselect.support.records import settings_of
from coreselect_integrations.networks import NetworkSpec
from coreselect_integrations.pretraining.division import NOT_DIVIDED
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.training.epoch_log import EpochLog


def about_run(
    settings: Settings,
    selector: Selector | None,
    spec: NetworkSpec,
    data: str,
    pool_size: int,
    begun: str | None,
    division: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return what a run is: a folder goes on only with the same.

    Args:
        data: the fingerprint of the pool.
        begun: a digest of the weights that it began with, or None for weights drawn at random.
        division: how pool and validation were made, see `Division.record`.
    """
    about = {
        **asdict(settings), "selector": None, "selector_settings": None, "data": data, "pool_size": pool_size,
        "network": asdict(spec), "select_precision": "fp32", "begun": begun, **NOT_DIVIDED, **(division or {}),
    }  # fmt: skip
    if selector is not None:
        about |= {
            "selector": selector.name, "selector_settings": settings_of(selector),
            "select_precision": "fp32" if settings.attack is None else settings.precision,
        }  # fmt: skip
    return about


def of_training(log: EpochLog, rate: float, updates: int) -> dict[str, Any]:
    """Return what an epoch's record says of training."""
    return {
        "loss": log.loss, "accuracy": log.accuracy, "lr": rate, "examples": log.examples, "updates": updates,
        "seconds": log.seconds,
    }  # fmt: skip


def of_selection(chosen: Selection | None, pool: Any) -> dict[str, Any]:
    """Return what an epoch's record says of its selection: seconds by part, trouble, and in an impure pool what was picked."""
    if chosen is None:
        return {"selection": {}, "trouble": []}
    trouble = [] if chosen.diagnostics is None else list(chosen.diagnostics.trouble())
    truth = getattr(pool, "truth", None)
    picks = {} if truth is None else {"picks": truth.shares(chosen.indices)}
    return {"selection": dict(chosen.provenance.seconds), "trouble": trouble, **picks}

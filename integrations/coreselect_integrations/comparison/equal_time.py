"""Settings of cells at equal time: how many epochs a method gets.

At equal epochs, all methods train for the same number of epochs. At equal time, each method gets as many epochs as fit into
the time, including selection, that the slowest method took at equal epochs:

    E' = ⌊e · T / c⌋,  e epochs after the warm-up, c seconds they took (including selection), T = max c over the methods

So the slowest method needs no new cell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from coreselect.errors import RequirementError
from coreselect_integrations.comparison.plan import Cell, Study
from coreselect_integrations.comparison.statistics import FULL, WARM
from coreselect_integrations.pretraining.settings import Settings


def settings_of(cell: Cell, study: Study, before: Sequence[Mapping[str, Any]]) -> Settings:
    """Return the settings of a cell; at equal time, epochs that belong to a learning-rate curve are scaled to the run.

    Args:
        before: the records of the cells before this one.
    """
    own = study.settings if cell.method in (FULL, WARM) else study.own(cell.method, study.settings)
    if cell.equal == "time":
        longer = own.scaled_to(own.warmup + affordable_epochs(cell, study, before))
        own = replace(longer, warmup=own.warmup, every=own.every, lr_warmup=own.lr_warmup)
    return replace(own, seed=cell.seed, fraction=own.fraction if cell.fraction is None else cell.fraction)


def affordable_epochs(cell: Cell, study: Study, before: Sequence[Mapping[str, Any]]) -> int:
    """Return E', the number of epochs after the warm-up that a method may train at equal time.

    Raises:
        RequirementError: the method failed at equal epochs.
    """
    epochs = study.settings.epochs - study.settings.warmup
    seconds = {
        r["method"]: seconds_after_warm_up(r)
        for r in before
        if r["error"] is None and (r["fraction"], r["seed"], r["equal"]) == (cell.fraction, cell.seed, "epochs")
    }
    if cell.method not in seconds:
        why = f"{cell.method} failed at equal epochs, so its time is not known: look at that error first."
        raise RequirementError(why)
    return math.floor(epochs * (max(seconds.values()) / seconds[cell.method]))


def seconds_after_warm_up(record: Mapping[str, Any]) -> float:
    """Return the seconds of training and selection without the shared warm-up."""
    return record["train_seconds"] + record["select_seconds"] - record["warm_seconds"]

"""The figures of a selection in TensorBoard or Weights & Biases, whichever the caller has; neither is imported."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from coreselect.errors import RequirementError
from coreselect.types import Selection


def log_selection(writer: Any, selection: Selection, step: int, prefix: str = "coreset") -> None:
    """Log the figures of one selection, and in words what its diagnostics say is wrong.

        log_selection(SummaryWriter("runs/a"), selection, epoch)
        log_selection(wandb.init(project="a"), selection, epoch)

    Args:
        writer: a `SummaryWriter` (it has `add_scalar` and `add_text`), or a run of wandb (it has `log`).
        selection: of which `figures` are logged.
        step: the epoch or the number of updates, ≥ 0.
        prefix: before each name, with a slash.
    Raises:
        RequirementError: `writer` is neither.
    """
    values = {f"{prefix}/{name}": value for name, value in figures(selection).items()}
    trouble = [] if selection.diagnostics is None else list(selection.diagnostics.trouble())
    if hasattr(writer, "add_scalar"):
        for name, value in values.items():
            writer.add_scalar(name, value, step)
        if trouble:
            writer.add_text(f"{prefix}/trouble", "\n\n".join(trouble), step)
    elif hasattr(writer, "log"):
        writer.log({**values, **({f"{prefix}/trouble": "\n".join(trouble)} if trouble else {})}, step=step)
    else:
        raise RequirementError(
            f"a writer needs add_scalar or log, got {type(writer).__name__}: give a SummaryWriter or a run of wandb."
        )


def figures(selection: Selection) -> Mapping[str, float]:
    """Return the figures of a selection by name, those that it has.

    picks, share (of the pool, in (0, 1]), groups, gain (the sum over all groups), effective_picks ((Σw)² / Σw² of the weights,
    in [1, picks]), round, `diagnostics/…` (see `Diagnostics`), `certificate/value`, `…/upper_bound`, `…/ratio`,
    and `seconds/…` for each part of the selection, with `seconds/in_all`.
    """
    made, k = selection.provenance, len(selection)
    found = {"picks": k, "share": k / made.pool_size, "groups": len(np.unique(selection.groups)), "round": made.round}
    if np.any(selection.gains):
        found["gain"] = selection.gains.sum()  # a pick has its group's gain divided by the group's size
    if selection.weights is not None:
        found["effective_picks"] = selection.weights.sum() ** 2 / np.square(selection.weights).sum()
    for name, record, kept in (
        ("diagnostics", selection.diagnostics, None),
        ("certificate", selection.certificate, ("value", "upper_bound", "ratio")),
    ):
        for field in () if record is None else fields(record):
            value = getattr(record, field.name)
            if value is not None and (kept is None or field.name in kept):
                found[f"{name}/{field.name}"] = value
    found |= {f"seconds/{part}": seconds for part, seconds in made.seconds.items()}
    found["seconds/in_all"] = sum(made.seconds.values())
    return {name: float(value) for name, value in found.items()}

"""What a training or a comparison would cost, on stdout: as lines, or as JSON."""

import json as json_
from typing import Any

import typer
from rich.console import Console

from coreselect.cli.show_plan import as_plain, duration, show_plans
from coreselect_integrations.cli.run_progress import counted
from coreselect_integrations.comparison.forecast import StudyForecast
from coreselect_integrations.pretraining.forecast import Forecast


def show_forecast(told: Forecast, *, json: bool) -> None:
    """Print what a training would cost."""
    if json:
        typer.echo(json_.dumps(plain(told), indent=2))
        return
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(f"training: {_counts(told)}{_about(told.training_seconds)}")
    if told.selection is not None:
        console.print(
            f"selecting: {counted(told.selections, 'time')}{_about(told.selecting_seconds)}; one selection takes"
        )
        show_plans([told.selection], warm_up=None, store=None, json=False)
    _end(console, told.total_seconds, "")


def show_study_forecast(told: StudyForecast, processes: int, *, json: bool) -> None:
    """Print what a comparison would cost, cell by cell of its first seed.

    Args:
        told: by kind of cell.
        processes: how many share the cells.
    """
    if json:
        cells = [
            {
                "method": c.method, "fraction": c.fraction, "cells": c.count, "affordable_passes": told.affordable(c),
                **plain(c.forecast),
            }
            for c in told.cells
        ]  # fmt: skip
        about = {"cells": told.count, "at_equal_time": told.at_equal_time, "processes": processes}
        about |= {"update_seconds": told.update_seconds, "step_seconds": told.step_seconds}
        typer.echo(json_.dumps({**about, "total_seconds": told.total_seconds, "kinds": cells}, indent=2))
        return
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for kind in told.cells:
        f, part = kind.forecast, "" if kind.fraction is None else f" {kind.fraction:g}"
        chosen = f"; {counted(f.selections, 'selection')}{_passes(f)}" if f.selection is not None else ""
        each = "" if kind.count == 1 else " each"
        console.print(
            f"{kind.method}{part}: {counted(kind.count, 'cell')}, {_counts(f)}{chosen}{_about(f.total_seconds)}{each}"
        )
    if told.at_equal_time:
        console.print(
            f"at equal time: {counted(told.at_equal_time, 'more cell')}, each as long as the slowest method of its share and seed"
        )
    if told.update_seconds is not None and told.step_seconds is not None:
        update, step = (1000 * s for s in (told.update_seconds, told.step_seconds))
        console.print(f"an image costs {update:.2g} ms of updates, and {step:.2g} ms for each attack step")
    passes = {f"{c.method} {c.fraction:g}": told.affordable(c) for c in told.cells if c.fraction is not None}
    known = [f"{name}: {value:.3g}" for name, value in passes.items() if value is not None]
    if known:
        console.print(f"fraction × epochs after the warm-up that each can afford at equal time: {', '.join(known)}")
    seconds = told.total_seconds
    shared = f", shared by {processes} processes" if processes > 1 else ""
    _end(console, None if seconds is None else seconds / processes, f" for {counted(told.count, 'cell')}{shared}")
    console.print("accuracies and fine-tuning are not in it")


def plain(told: Forecast) -> dict[str, Any]:
    """Return a forecast as values that JSON can hold, with its sums."""
    selection = None if told.selection is None else as_plain(told.selection)
    counts = {"epochs": told.epochs, "updates": told.updates, "images": told.images, "selections": told.selections}
    return {
        **counts, "selection": selection, "image_seconds": told.image_seconds, "training_seconds": told.training_seconds,
        "selecting_seconds": told.selecting_seconds, "total_seconds": told.total_seconds,
    }  # fmt: skip


def _counts(told: Forecast) -> str:
    return f"{counted(told.epochs, 'epoch')}, {counted(told.updates, 'update')}, {counted(told.images, 'image')}"


def _passes(told: Forecast) -> str:
    if told.selection is None or not told.selection.forward_passes:
        return ""
    return f" of {'at most ' if told.selection.at_most else ''}{told.selection.forward_passes:,} forward passes"


def _about(seconds: float | None) -> str:
    return "" if seconds is None else f": about {duration(seconds)}"


def _end(console: Console, seconds: float | None, what: str) -> None:
    if seconds is None:
        console.print("nothing was timed: there is a single batch")
    else:
        console.print(
            f"in all about {duration(seconds)}{what}, estimated from the first batches, on this machine as busy as it is now"
        )

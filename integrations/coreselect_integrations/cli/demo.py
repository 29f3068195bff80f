"""`coreselect demo`: four ways of choosing 10 % of real scanned digits, trained adversarially, side by side."""

from __future__ import annotations

import json as json_format
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import torch
import typer
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from coreselect import Selection, Selector
from coreselect.attacks import PGD
from coreselect.data import ImageSet, load
from coreselect.gallery import draw
from coreselect.objectives import RD
from coreselect.selectors import RCS, RS2, Random, Redraw
from coreselect_integrations.augment import crop_flip
from coreselect_integrations.comparison import WARM, Comparison, Run, Setting, compare

REFERENCE = "rs2"
DIGITS = Setting(radius=0.1, augment=partial(crop_flip, pad=1, flip=False))


def methods(radius: float) -> dict[str, Callable[[], Selector]]:
    """The four lines of the table; the attack of RCS's objective takes three steps of 2.5 radii in all."""
    rd = RD("kl", attack=PGD(radius, 2.5 * radius / 3, 3))
    return {"rs2": RS2, "redraw": Redraw, "random": Random, "rcs": lambda: RCS(objective=rd)}


def demo(
    out: Annotated[Path, typer.Option(help="Folder for the index file and the picture.")] = Path("out/demo"),
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each method is trained with.")] = 3,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs on the subset, after the warm-up.")] = DIGITS.epochs,
    warmup_epochs: Annotated[int, typer.Option(min=0, help="Epochs on the whole pool, shared by all.")] = DIGITS.warmup,
    every: Annotated[int, typer.Option(min=1, help="Epochs between selections.")] = DIGITS.every,
    json: Annotated[bool, typer.Option("--json", help="Print records instead of a table.")] = False,
) -> None:
    """Compare four ways of choosing 10 % of scikit-learn's scanned digits under adversarial training."""
    start = perf_counter()
    setting = Setting(radius=DIGITS.radius, augment=DIGITS.augment, epochs=epochs, warmup=warmup_epochs, every=every)
    train, test = load("digits", "train"), load("digits", "test")
    talk = Console(stderr=True)
    bar = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with one_thread(), Progress(*bar, TimeElapsedColumn(), TimeRemainingColumn(), console=talk) as progress:
        line = progress.add_task("digits")
        result = compare(
            train, test, methods(setting.radius), setting, seeds=range(seeds),
            progress=lambda what, done, total: progress.update(line, description=what, completed=done, total=total),
        )  # fmt: skip
    files = keep(result.selections["rcs"], train, out)
    seconds = perf_counter() - start
    if json:
        print(json_format.dumps(records(result, files, seconds)))
        return
    console = Console()
    console.print(table(result.runs, setting))
    for sentence in sentences(result, len(test), seconds):  # type: ignore[arg-type]  # map-style datasets have a length
        console.print(sentence)
    for path in files:
        console.print(f"wrote {path}", soft_wrap=True)
    for run in result.runs:
        for warning in run.warnings:
            talk.print(f"{run.method}, seed {run.seed}: {warning}", style="yellow")


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold torch to one thread: small images gain little from more, and numbers then do not depend on the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def keep(selection: Selection, train: ImageSet, out: Path) -> list[Path]:
    """Write a selection as an index file, and its picture; return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    index, picture = out / "coreset.npz", out / "coreset.png"
    selection.save(index)
    draw(selection, train, picture, labels=train.labels, class_names=train.classes)
    return [index, picture]


def paired(runs: Sequence[Run], method: str, what: str) -> list[float]:
    """Differences of one accuracy to the reference line, seed by seed, in points."""
    value: Mapping[tuple[str, int], float] = {(r.method, r.seed): 100 * getattr(r, what) for r in runs}
    return [value[m, s] - value[REFERENCE, s] for m, s in value if m == method]


def spread(values: Sequence[float], sign: str = "") -> str:
    """Write a mean, and the standard deviation where there is more than one value."""
    mean = f"{statistics.mean(values):{sign}.1f}"
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.1f}"


def table(runs: Sequence[Run], setting: Setting) -> Table:
    """Lay out the runs: accuracies in percent, mean ± standard deviation over seeds, seconds a run."""
    part = f"{setting.budget:.0%} of the digits, {setting.epochs} epochs after {setting.warmup} on all"
    out = Table(title=f"{part}, l∞ radius {setting.radius}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    out.add_column("method", no_wrap=True)
    for column in (
        "standard %",
        f"− {REFERENCE}",
        "PGD-20 %",
        f"− {REFERENCE}",
        "train s",
        "select s",
    ):
        out.add_column(column, justify="right", no_wrap=True)
    for method in dict.fromkeys(r.method for r in runs):
        mine = [r for r in runs if r.method == method]
        own = method in (WARM, REFERENCE)
        out.add_row(
            method,
            spread([100 * r.standard for r in mine]),
            "-" if own else spread(paired(runs, method, "standard"), "+"),
            spread([100 * r.robust for r in mine]),
            "-" if own else spread(paired(runs, method, "robust"), "+"),
            f"{statistics.mean(r.train_seconds for r in mine):.1f}",
            f"{statistics.mean(r.select_seconds for r in mine):.2f}",
            end_section=method == WARM,
        )
    return out


def sentences(result: Comparison, tested: int, seconds: float) -> list[str]:
    """Say what the table can carry."""
    reference = [r.robust for r in result.runs if r.method == REFERENCE]
    p, seeds = statistics.mean(reference), len(reference)
    error = 100 * math.sqrt(p * (1 - p) / tested)
    rcs = result.selections["rcs"]
    return [
        f"Each selection is {len(rcs)} of {rcs.provenance.pool_size:,} images; rcs picked them as "
        f"{len(set(rcs.groups.tolist()))} groups.",
        f"{REFERENCE} (random without repetition, anew every epoch) is the reference line; differences to it are in "
        f"points, paired by seed, mean and standard deviation over {seeds} seed{'s' * (seeds != 1)}.",
        f"One accuracy on {tested} test images has a standard error of about {error:.1f} points: read smaller "
        "differences as none.",
        f"{seconds:.0f} s in all.",
    ]


def records(result: Comparison, files: Sequence[Path], seconds: float) -> dict[str, Any]:
    """The same as numbers and names that JSON can hold."""
    setting = {k: v for k, v in asdict(result.setting).items() if k != "augment"}
    return {
        "setting": setting,
        "runs": [asdict(r) for r in result.runs],
        "reference": REFERENCE,
        "files": [str(f) for f in files],
        "seconds": seconds,
    }

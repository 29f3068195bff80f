"""The work of `coreselect demo`: train with four ways of choosing, and show what came of each."""

import json as json_format
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from coreselect import Selection
from coreselect.cli.whole_tables import print_whole
from coreselect.data import ImageSet, load
from coreselect.report.gallery import draw
from coreselect_integrations.cli.checks_before_work import check_folder
from coreselect_integrations.cli.comparison_progress import ComparisonProgress
from coreselect_integrations.comparison import Cell, Runtime, Study, compare
from coreselect_integrations.comparison.statistics import REFERENCE, WARM, MeanStd, Record, paired
from coreselect_integrations.comparison.tables import NONE, percent
from coreselect_integrations.pretraining.coreset_file import CORESET
from coreselect_integrations.pretraining.settings import Settings
from coreselect_integrations.training.runs import LOG

METHODS = ("rs2", "redraw", "random", "rcs")
DIGITS = Settings(
    system="sat", arch="small", epochs=63, warmup=3, every=15, fraction=0.1, batch_size=32, lr=0.05, curve="triangle",
    radius=0.1, step=0.05, attack_steps=5, validation=200,
)  # fmt: skip


def run(out: Path, seeds: int, epochs: int, warmup_epochs: int, every: int, *, json: bool) -> None:
    """Train with every method and seed, keep one selection and its picture, and print records or a table."""
    check_folder(out)
    start = perf_counter()
    settings = replace(DIGITS, epochs=warmup_epochs + epochs, warmup=warmup_epochs, every=every)
    study = Study(settings, METHODS, [settings.fraction], range(seeds), full=False)
    train, test = load("digits", "train"), load("digits", "test")
    with TemporaryDirectory() as folder, one_thread(), ComparisonProgress(quiet=True) as progress:
        runtime = Runtime(
            Path(folder), select_batch_size=64, progress=progress, began=progress.began, ended=progress.ended
        )
        records = compare(study, train, test, runtime)
        if any(r["error"] is not None for r in records):
            raise typer.Exit(1)
        runs = [run_of(r, Path(folder), settings.warmup) for r in records]
        selection = Selection.load(Path(folder) / Cell("rcs", settings.fraction, 0).name / CORESET)
    files = keep(selection, train, out)
    seconds = perf_counter() - start
    if json:
        about = {"setting": asdict(settings), "runs": runs, "reference": REFERENCE}
        typer.echo(json_format.dumps({**about, "files": [str(f) for f in files], "seconds": seconds}))
        return
    console = Console()
    print_whole(table(runs, settings), highlight=True)
    for sentence in sentences(runs, selection, len(test), seconds):
        console.print(sentence)
    for path in files:
        console.print(f"wrote {path}", soft_wrap=True, markup=False)
    talk = Console(stderr=True, highlight=False, soft_wrap=True)
    for run in runs:
        for warning in run["warnings"]:
            talk.print(f"{run['method']}, seed {run['seed']}: {warning}", style="yellow", markup=False)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: small images gain little from more, and the numbers do not depend on the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_of(record: Record, folder: Path, warmup: int) -> dict[str, Any]:
    """Return what the demo shows of a cell: accuracies in [0, 1], and seconds and updates after the warm-up.

    `picks` is the number of groups of the last selection. The seconds of the warm model are those of the warm-up.
    """
    cell = Cell(record["method"], record["fraction"], record["seed"])
    log, chosen = folder / cell.name / LOG, folder / cell.name / CORESET
    epochs = [json_format.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []
    late = sum(e["updates"] for e in epochs if cell.method != WARM and e["epoch"] >= warmup)
    shared = record["warm_seconds"] if cell.method != WARM else 0.0
    return {
        "method": cell.method, "seed": cell.seed, **{k: record["accuracy"]["trained"][k] for k in ("standard", "robust")},
        "train_seconds": record["train_seconds"] - shared, "select_seconds": record["select_seconds"], "updates": late,
        "picks": len(set(Selection.load(chosen).groups.tolist())) if chosen.exists() else 0, "warnings": record["trouble"],
    }  # fmt: skip


def keep(selection: Selection, train: ImageSet, out: Path) -> list[Path]:
    """Write a selection as an index file, and its picture. Return both paths."""
    out.mkdir(parents=True, exist_ok=True)
    index, picture = out / "coreset.npz", out / "coreset.png"
    selection.save(index)
    draw(selection, train, picture, labels=train.labels, class_names=train.classes)
    return [index, picture]


def against(runs: Sequence[Record], method: str, what: str) -> str:
    """Write the difference between an accuracy and that of the reference, in points, paired by seed."""
    ours, theirs = ({r["seed"]: r[what] for r in runs if r["method"] == m} for m in (method, REFERENCE))
    found = None if method in (WARM, REFERENCE) else paired(ours, theirs)
    return NONE if found is None else percent(found.difference, 1, "+")


def table(runs: Sequence[Record], settings: Settings) -> Table:
    """Lay out the runs: accuracies in percent, mean ± standard deviation over seeds, and seconds for one run."""
    plan = f"{settings.epochs - settings.warmup} epochs after {settings.warmup} on all"
    title = f"{settings.fraction:.0%} of the digits, {plan}, l∞ radius {settings.radius}"
    out = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    out.add_column("method", no_wrap=True)
    for column in ("standard %", f"− {REFERENCE}", "PGD-20 %", f"− {REFERENCE}", "train s", "select s"):
        out.add_column(column, justify="right", no_wrap=True)
    for method in dict.fromkeys(r["method"] for r in runs):
        mine = [r for r in runs if r["method"] == method]
        out.add_row(
            "warm model" if method == WARM else method,
            percent(MeanStd.of(r["standard"] for r in mine)),
            against(runs, method, "standard"),
            percent(MeanStd.of(r["robust"] for r in mine)),
            against(runs, method, "robust"),
            f"{fmean(r['train_seconds'] for r in mine):.1f}",
            f"{fmean(r['select_seconds'] for r in mine):.2f}",
            end_section=method == WARM,
        )
    return out


def sentences(runs: Sequence[Record], selection: Selection, tested: int, seconds: float) -> list[str]:
    """Say how far the table can be trusted."""
    reference = [r["robust"] for r in runs if r["method"] == REFERENCE]
    p, seeds = fmean(reference), len(reference)
    error = 100 * math.sqrt(p * (1 - p) / tested)
    return [
        f"Each selection is {len(selection)} of {selection.provenance.pool_size:,} images; rcs picked them as "
        f"{len(set(selection.groups.tolist()))} groups.",
        f"{REFERENCE} (random without repetition, anew every epoch) is the reference; differences to it are in points, "
        f"paired by seed, mean and standard deviation over {seeds} seed{'s' * (seeds != 1)}.",
        f"One accuracy on {tested} test images has a standard error of about {error:.1f} points: smaller differences "
        "mean nothing.",
        f"{seconds:.0f} s in all.",
    ]

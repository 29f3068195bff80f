"""`coreselect compare`: does a method beat random, and is it worth the time?"""

from __future__ import annotations

import json as json_
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from coreselect.budget import resolve
from coreselect.data import load
from coreselect.errors import BudgetError, CoreselectError, MissingExtraError
from coreselect_integrations.cli.cells import Cells
from coreselect_integrations.cli.early import check_folder, check_images, classes_in, device_on, held_out
from coreselect_integrations.cli.live import some
from coreselect_integrations.comparison import EvaluationMode, Finetuning, Runtime, Study
from coreselect_integrations.comparison import compare as run
from coreselect_integrations.comparison.picture import pareto
from coreselect_integrations.comparison.plan import CLOCKS, TRAINED, cells
from coreselect_integrations.comparison.report import write
from coreselect_integrations.comparison.statistics import FULL, REFERENCE, Record
from coreselect_integrations.comparison.tables import NARROW, blocks, nonempty_columns
from coreselect_integrations.finetuning import MODES
from coreselect_integrations.pretraining.epoch import network_for
from coreselect_integrations.pretraining.presets import defaults
from coreselect_integrations.pretraining.systems import SYSTEMS

CURVES = ("cosine", "triangle", "constant")
_TRAINING, _REPORT, _RUN = "Training, the same for all", "What is reported", "Run"


def compare(
    out: Annotated[Path, typer.Option(help="Folder; finished cells that it holds are kept.")] = Path("out/compare"),
    trainer: Annotated[str, typer.Option(help=f"{', '.join(SYSTEMS)}.")] = "sat",
    data: Annotated[str, typer.Option(help="As `coreselect train --data`, labelled, with test images.")] = "digits",
    selectors: Annotated[
        str,
        typer.Option(help="Methods with commas, e.g. rcs:eta=0.05 or rcs+redraw; rs2 is what they are held against."),
    ] = "rcs,rs2,redraw,random",
    fractions: Annotated[str, typer.Option(help="Shares of the pool, with commas.")] = "0.1",
    seeds: Annotated[str, typer.Option(help="How many, counted from 0; or fresh ones, 3:6 for 3, 4 and 5.")] = "3",
    equal: Annotated[str, typer.Option(help="epochs, time, or both with a comma.")] = "epochs",
    full: Annotated[bool, typer.Option(help="Also train on everything, for the speed-up.")] = True,
    arch: Annotated[str, typer.Option(help="As `coreselect train --arch`.", rich_help_panel=_TRAINING)] = "small",
    epochs: Annotated[int, typer.Option(min=2, help="In all.", rich_help_panel=_TRAINING)] = 13,
    warmup: Annotated[int, typer.Option(min=0, help="On everything first.", rich_help_panel=_TRAINING)] = 3,
    every: Annotated[int, typer.Option(min=1, help="Epochs between selections.", rich_help_panel=_TRAINING)] = 5,
    batch_size: Annotated[int, typer.Option(min=2, rich_help_panel=_TRAINING)] = 64,
    lr: Annotated[float, typer.Option(min=0.0, help="Of SGD, at its peak.", rich_help_panel=_TRAINING)] = 0.05,
    curve: Annotated[str, typer.Option(help=f"{', '.join(CURVES)}.", rich_help_panel=_TRAINING)] = "cosine",
    radius: Annotated[float, typer.Option(help="Of all attacks, pixels in [0, 1].", rich_help_panel=_TRAINING)] = 8
    / 255,
    attack_steps: Annotated[
        int | None, typer.Option(min=1, help="Of training, 2.5 radii in all; else 5.", rich_help_panel=_TRAINING)
    ] = None,
    select_attack_steps: Annotated[
        int | None, typer.Option(min=0, help="Of captured gradients; else training's.", rich_help_panel=_TRAINING)
    ] = None,
    clock: Annotated[
        str, typer.Option(help="Seconds of the wall, or of the cpu, on a busy machine.", rich_help_panel=_REPORT)
    ] = "wall",
    precision: Annotated[str, typer.Option(help="fp32 or bf16.", rich_help_panel=_TRAINING)] = "fp32",
    validation: Annotated[
        float, typer.Option(min=0.0, help="Held out for RD: share or count.", rich_help_panel=_TRAINING)
    ] = 0.05,
    judged: Annotated[
        str | None,
        typer.Option(help=f"trained, {', '.join(MODES)}; else trained, or slf,alf.", rich_help_panel=_REPORT),
    ] = None,
    tuning_epochs: Annotated[
        int | None, typer.Option(min=1, help="Of slf, alf, …; else 5.", rich_help_panel=_REPORT)
    ] = None,
    tuning_rows: Annotated[
        int | None, typer.Option(min=2, help="Of slf, alf, …: images; else all.", rich_help_panel=_REPORT)
    ] = None,
    transfer: Annotated[
        str | None, typer.Option(help="Other data to fine-tune and judge on, too.", rich_help_panel=_REPORT)
    ] = None,
    rows: Annotated[int | None, typer.Option(min=2, help="Only so many training images.", rich_help_panel=_RUN)] = None,
    test_rows: Annotated[
        int | None, typer.Option(min=1, help="Only so many test images.", rich_help_panel=_RUN)
    ] = None,
    num_workers: Annotated[int, typer.Option(min=0, help="Processes that read images.", rich_help_panel=_RUN)] = 0,
    num_threads: Annotated[
        int | None, typer.Option(min=1, help="Of a CPU; else torch's.", rich_help_panel=_RUN)
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; else cuda if any.", rich_help_panel=_RUN)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print all records as JSON.", rich_help_panel=_RUN)] = False,
) -> None:
    """Train with every method from the same warm models, and report accuracies, time and everything that time bought.

    At equal epochs every method trains as long; at equal time each gets the epochs that fit into what the slowest took,
    selection included. The folder gets results.json, results.csv, pareto.png and report.html, which opens without a network.
    A cell that failed is a result, and exit code 1; the same command tries it again and keeps the others.
    """
    if trainer not in SYSTEMS:
        raise typer.BadParameter(f"--trainer is one of {', '.join(SYSTEMS)}, got {trainer!r}.")
    if clock not in CLOCKS:
        raise typer.BadParameter(f"--clock is one of {', '.join(CLOCKS)}, got {clock!r}.")
    if curve not in CURVES:
        raise typer.BadParameter(f"--curve is one of {', '.join(CURVES)}, got {curve!r}.")
    if not 0 < radius <= 1:
        raise typer.BadParameter(f"--radius is above 0 and up to 1, as all are judged under attack, got {radius:g}.")
    system, steps = SYSTEMS[trainer], attack_steps or 5
    kinds = _words(judged or (TRAINED if system.supervised else "slf,alf"))
    other = "" if transfer is None else Path(transfer).absolute().name
    if other:
        kinds += [f"{mode}@{other}" for mode in [k for k in kinds if k != TRAINED] or ("slf", "alf")]
    tuning = {"epochs": tuning_epochs, "rows": tuning_rows}
    study = Study(
        settings=replace(
            defaults(trainer), arch=arch, epochs=epochs, warmup=warmup, every=every, batch_size=batch_size, lr=lr, curve=curve,
            optimiser="sgd", weight_decay=5e-4 if system.supervised else 1e-4, lr_warmup=min(1, warmup), floor=0.0,
            radius=radius, step=2.5 * radius / steps, attack_steps=steps, select_attack_steps=select_attack_steps,
            interval=max(1, epochs // 20), precision=precision, validation=validation,
        ),
        methods=_words(selectors), fractions=_shares(fractions), seeds=_seeds(seeds), equal=_words(equal), full=full,
        judged=kinds, finetuning=Finetuning(**{k: v for k, v in tuning.items() if v is not None}), clock=clock,
    )  # fmt: skip
    given = {"--attack-steps": attack_steps, "--select-attack-steps": select_attack_steps}
    _check(
        study,
        [n for n, v in given.items() if v is not None],
        [f"--tuning-{n}" for n, v in tuning.items() if v is not None],
    )
    where = device_on(device)
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    check_folder(out)
    train, test = load(data, "train", rows), load(data, "test", test_rows)
    pool_size = _check_data(study, data, train, test)
    others = {}
    if transfer is not None:
        others[other] = load(transfer, "train"), load(transfer, "test", test_rows)
        _check_judged_on(transfer, *others[other])
        for held, name in zip(others[other], (transfer, f"{transfer}, test"), strict=True):
            check_images(held, network_for(study.settings, train), name)
    about = {
        **study.terms(), "data": data, "rows": rows, "transfer": transfer, "pool_size": pool_size, "tested": len(test),
        "selectors": list(study.methods), "fractions": list(study.fractions), "seeds": list(study.seeds),
        "equal": list(study.equal),
    }  # fmt: skip
    talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    talk.print(f"{trainer}, {arch} on {data}: {some(len(list(cells(study))), 'cell')} on {where}, in {out}")
    with Cells() as live:
        runtime = Runtime(
            folder=out, device=where, num_workers=num_workers, progress=live, began=live.began, ended=live.ended,
            select_batch_size=64 if where.type == "cpu" else 256,
        )  # fmt: skip
        records = run(study, train, test, runtime, others)
    picture = None
    try:
        picture = pareto(records)
    except MissingExtraError as why:
        talk.print(f"no picture: {why}", style="yellow")
    files = write(out, about, records, picture)
    if json:
        typer.echo(json_.dumps({"study": about, "records": records}))
    else:
        show(records, files)
    failed = sum(r["error"] is not None for r in records)
    if failed:
        talk.print(
            f"{some(failed, 'cell')} of {len(records)} failed: why stands in {out / 'results.json'}", style="red"
        )
        raise typer.Exit(1)


def _words(text: str) -> list[str]:
    """Read names with commas, each once."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _seeds(text: str) -> range:
    """Read `3`, which counts from 0, or `3:6`, which ends before 6."""
    first, colon, end = text.rpartition(":")
    try:
        seeds = range(int(first) if colon else 0, int(end))
    except ValueError:
        seeds = range(0)
    if not seeds or seeds.start < 0:
        raise typer.BadParameter(
            f"--seeds is how many, at least 1, or the first and the one after the last, such as 3:6, got {text!r}."
        )
    return seeds


def _shares(text: str) -> list[float]:
    """Read `0.05,0.1`."""
    try:
        shares = [float(word) for word in _words(text)]
    except ValueError:
        shares = []
    if not shares or not all(0 < share <= 1 for share in shares):
        raise typer.BadParameter(
            f"--fractions are shares above 0 and up to 1 with commas, such as 0.05,0.1, got {text!r}."
        )
    return list(dict.fromkeys(shares))


def _check(study: Study, attack: Sequence[str], tuning: Sequence[str]) -> None:
    """Refuse a command line that would not do what it says."""
    s = study.settings
    for method in study.methods:
        try:
            study.make(method, study.settings)
        except CoreselectError as why:
            raise typer.BadParameter(f"--selectors: {why}") from why
    needed = "slf, alf, …" if not SYSTEMS[s.system].supervised else "trained, slf, alf, …"
    able = {*MODES, *((TRAINED,) if SYSTEMS[s.system].supervised else ())}
    for wrong, why in (
        (not study.methods, "--selectors names no method; rcs,rs2,redraw,random is a start."),
        (
            not study.equal or not set(study.equal) <= {"epochs", "time"},
            f"--equal is epochs, time or both with a comma, got {','.join(study.equal)!r}.",
        ),
        (
            not {EvaluationMode.parse(judged).mode for judged in study.judged} <= able,
            f"--judged is, with {s.system}, some of {needed}, got {','.join(study.judged)!r}.",
        ),
        (
            s.warmup >= s.epochs,
            f"nothing would be chosen: --warmup is {s.warmup} of {some(s.epochs, 'epoch')} in all, make it smaller or "
            "--epochs larger.",
        ),
        (s.validation > 1 and s.validation != int(s.validation), "--validation is a share below 1, or a whole number of images."),
        (
            attack and s.attack is None,
            f"{', '.join(attack)} would be without effect here: it is for systems with an attack.",
        ),
        (
            tuning and set(study.judged) == {TRAINED},
            f"{', '.join(tuning)} would be without effect here: it is for --judged slf, alf, … and --transfer.",
        ),
    ):  # fmt: skip
        if wrong:
            raise typer.BadParameter(why)


def _check_data(study: Study, data: str, train: Any, test: Any) -> int:
    """Refuse data that cannot be trained or judged on before the first epoch; return the size of the pool.

    Raises:
        DataError: images of two shapes, or without labels.
        BudgetError: a part that would be empty.
    """
    pool, _ = held_out(train, study.settings.validation, 0)
    for fraction in study.fractions:
        try:
            resolve(fraction, len(pool))
        except BudgetError as error:
            why = f"--fractions {fraction:g} of {some(len(pool), 'image')} is none: give a larger one."
            raise BudgetError(why) from error
    _check_judged_on(data, train, test)
    check_images(test, network_for(study.settings, pool), f"{data}, test")
    return len(pool)


def _check_judged_on(data: str, train: Any, test: Any) -> None:
    """Refuse a set without labels, which no network can be judged on.

    Raises:
        DataError: it has none.
    """
    classes_in(train, data, "training or fine-tuning a classifier")
    classes_in(test, f"{data}, test", "an accuracy")


def show(records: Sequence[Record], files: Sequence[Path]) -> None:
    """Print a table a block, what it can carry, and where everything was written."""
    console = Console(highlight=False)
    for title, lines in blocks(records):
        table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
        names, rows = nonempty_columns(NARROW, lines)
        for name in names:
            first = name == "method"  # long ones go on in the next line, numbers are never cut off
            table.add_column(name, justify="left" if first else "right", no_wrap=not first, overflow="fold")
        for line, row in zip(lines, rows, strict=True):
            style = "bold" if line.method == REFERENCE else "dim" if line.method == FULL else None
            table.add_row(*row, style=style)
        console.print(title, style="italic")
        console.print(table, "")
    if any(line.against is not None for _, lines in blocks(records) for line in lines):
        console.print(
            f"− {REFERENCE}: points of robust accuracy, paired by seed; p: two-sided, of a paired t-test; seconds count the "
            "warm-up."
        )
    for path in files:
        console.print(f"wrote {path}", soft_wrap=True, markup=False)

"""The work of `coreselect train`: put the settings together, check them, train, and print what was done."""

import json as json_
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console

from coreselect.cli.options import MachineOptions, PoolOptions
from coreselect.cli.processes import as_rank
from coreselect.data.items import check_timeout
from coreselect.support import ranks
from coreselect_integrations.cli.checks_before_work import check_folder, held_out
from coreselect_integrations.cli.run_progress import RunProgress, counted, duration
from coreselect_integrations.cli.train_settings import (
    attack_said,
    check,
    notes,
    selector_named,
    settings_from,
    with_settings_of_selector,
)
from coreselect_integrations.pretraining.run import MODEL, Pretrained, pretrain
from coreselect_integrations.training.runs import LOG


def run(
    given: Mapping[str, Any],
    preset: str | None,
    pool: PoolOptions,
    out: Path,
    selector: str | None,
    machine: MachineOptions,
    *,
    json: bool,
) -> None:
    """Train with the options that were given, and print the last record or a summary."""
    with as_rank(machine.device) as device:
        ranks.together(lambda _: _run(given, preset, pool, out, selector, machine, device, json=json), "train")


def _run(
    given: Mapping[str, Any],
    preset: str | None,
    pool: PoolOptions,
    out: Path,
    selector: str | None,
    machine: MachineOptions,
    device: torch.device,
    *,
    json: bool,
) -> None:
    """Train as one of the ranks; rank 0 speaks."""
    first = ranks.rank() == 0
    check_timeout(machine.read_timeout, machine.workers(device))
    settings = settings_from(given, preset)
    method = selector_named(selector, settings)
    check(settings, method, given, named=selector is not None)
    if method is not None:
        settings = with_settings_of_selector(selector or "", method, settings, given)
    check_folder(out)
    dataset = pool.read("train", pool.rows)
    images, held = held_out(dataset, settings.validation, settings.seed)
    talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True, quiet=not first)
    talk.print(
        f"{settings.system}, {settings.arch} on {pool.data}: {counted(len(images), 'image')}, "
        f"{len(held):,} more held out"
    )
    plan = "all of them"
    if method is not None:
        plan = f"{settings.fraction:.3g} by {selector} from epoch {settings.first_selection + 1} on"
    talk.print(f"{counted(settings.epochs, 'epoch')} on {device}, {plan}, in {out}")
    if method is not None and method.requires & {"gradients", "inputs"} and settings.attack is not None:
        talk.print(attack_said(settings))
    if ranks.world_size() > 1:
        talk.print(f"{ranks.world_size()} ranks share the selections; each of them trains on every batch")
    for words in notes(settings):
        talk.print(words, style="yellow")
    pass_size = given.get("select_batch_size") or (64 if device.type == "cpu" else 256)
    with RunProgress(settings.epochs, quiet=not first) as progress:
        result = pretrain(
            settings, images, held, out, selector=method, num_workers=machine.workers(device), timeout=machine.read_timeout,
            device=device, progress=progress, ended=progress.ended, select_batch_size=pass_size,
        )  # fmt: skip
    if not first:
        return
    if json:
        about = {**pool.record, "selector": selector or "full", "settings": asdict(settings)}
        last = {"trained": progress.count, "last": result.records[-1]}
        typer.echo(json_.dumps({"out": str(out), **about, **last}))
    else:
        said = _summary(result, progress.count, out, chosen=method is not None)
        Console(highlight=False, markup=False, soft_wrap=True).print(said)


def _summary(result: Pretrained, trained: int, out: Path, *, chosen: bool) -> str:
    """Say what was done, how long it took, and where the results are."""
    training, selecting = (sum(r[part] for r in result.records) for part in ("seconds", "select_seconds"))
    said = f"{counted(len(result.records), 'epoch')} took {duration(training)}"
    if not trained:
        said = f"nothing was left to train: {said}"
    elif trained < len(result.records):
        said = f"went on after {len(result.records) - trained}: {said}"
    if chosen:
        said += f", selecting {duration(selecting)}; {result.records[-1]['seen']:.0%} of the pool was seen"
    return f"{said}\n{out / MODEL} and {out / LOG} hold the network and the log"

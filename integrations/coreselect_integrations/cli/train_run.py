"""The work of `coreselect train`: put the settings together, check them, train, and print what was done."""

import json as json_
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console

from coreselect import Selection
from coreselect.cli.options import ConditionOptions, MachineOptions, PoolOptions
from coreselect.cli.processes import as_rank
from coreselect.cli.select_options import WorkOptions
from coreselect.data.items import check_timeout
from coreselect.support import ranks
from coreselect_integrations.cli.checks_before_work import (
    check_filters,
    folder_of_run,
    held_out,
    network_at,
    store_of_run,
    with_classes,
)
from coreselect_integrations.cli.divided import asked_conditions, division_for
from coreselect_integrations.cli.options import OwnOptions
from coreselect_integrations.cli.own_network import check_own, own_settings, own_weights
from coreselect_integrations.cli.run_progress import RunProgress, counted, duration
from coreselect_integrations.cli.show_forecast import show_forecast
from coreselect_integrations.cli.train_options import StartOptions
from coreselect_integrations.cli.train_settings import (
    attack_said,
    check,
    check_beside_coreset,
    check_probe,
    notes,
    selector_named,
    settings_from,
    with_settings_of_selector,
)
from coreselect_integrations.comparison.picks import picks_said
from coreselect_integrations.pretraining.epoch import network_for
from coreselect_integrations.pretraining.fixed_coreset import made_of_arrays, pool_of
from coreselect_integrations.pretraining.forecast import forecast
from coreselect_integrations.pretraining.run import MODEL, Pretrained, pretrain
from coreselect_integrations.pretraining.watch import guard_seconds
from coreselect_integrations.training.runs import LOG


@dataclass(frozen=True)
class Request:
    """What a command line of `coreselect train` asks for; `given` are the settings by name."""

    given: Mapping[str, Any]
    preset: str | None
    pool: PoolOptions
    out: Path
    selector: str | None
    coreset: Path | None
    own: OwnOptions
    start: StartOptions
    machine: MachineOptions
    work: WorkOptions
    keep_every: int = 1
    conditions: ConditionOptions = field(default_factory=ConditionOptions)


def run(request: Request, *, json: bool) -> None:
    """Train with the options that were given, and print the last record or a summary; or print only what that would cost."""

    def train(_: Any) -> None:
        written = not request.work.dry_run
        with folder_of_run(request.out, locked=written), store_of_run(request.work.store, locked=written):
            _run(request, device, json=json)

    with as_rank(request.machine.device) as device:
        ranks.together(train, "train")


def _run(request: Request, device: torch.device, *, json: bool) -> None:
    """Train as one of the ranks; rank 0 speaks."""
    first, machine, out = ranks.rank() == 0, request.machine, request.out
    check_timeout(machine.read_timeout, machine.workers(device))
    check_own(request.own, request.start.from_, request.given.get("arch"))
    check_beside_coreset(request.coreset, request.selector, {**request.given, **request.conditions.given})
    conditions = asked_conditions(request.conditions, request.pool)
    if conditions is not None and conditions.shift is not None and request.conditions.validation_data is not None:
        raise typer.BadParameter(
            f"--pool shift={conditions.shift} would be without effect: it corrupts images that are held out, and --validation-data "
            "gives others. Leave one of them out."
        )
    coreset = None if request.coreset is None else Selection.load(request.coreset)
    given = {**request.given, **own_settings(request.own)}
    settings = settings_from(given, request.preset)
    method = selector_named(request.selector, settings)
    check(settings, method, given, named=request.selector is not None)
    check_probe(settings, request.start.probe_every)
    if method is not None:
        settings = with_settings_of_selector(request.selector or "", method, settings, given)
    if request.work.store is not None and method is None:
        raise typer.BadParameter("--store keeps the sweeps of selections, and there are none: give --selector.")
    start = None if request.start.from_ is None else network_at(request.start.from_)
    dataset = request.pool.read("train", request.pool.rows)
    division = division_for(request.conditions, request.pool, dataset)

    def divide() -> tuple[Any, Any]:
        return held_out(dataset, settings.validation, settings.seed, division)

    images, held = divide() if coreset is None else pool_of(coreset, dataset, divide, str(request.coreset))
    settings = with_classes(settings, dataset, [images])
    check_filters(method, settings.fraction, images)
    if request.own.checkpoint is not None:
        start = own_weights(request.own, network_for(settings, images))
    own_data = request.conditions.validation_data
    whence = "held out" if own_data is None else f"for validation, of {own_data}"
    talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True, quiet=not first)
    talk.print(
        f"{settings.system}, {settings.arch} on {request.pool.data}: {counted(len(images), 'image')}, "
        f"{len(held):,} more {whence}"
    )
    plan = "all of them"
    if coreset is not None:
        plan = f"the {len(coreset):,} of {request.coreset}"
        if made_of_arrays(coreset):
            talk.print(
                f"{request.coreset} was made from arrays: row i is taken as image i, which cannot be checked",
                style="yellow",
            )
    elif method is not None:
        plan = f"{settings.fraction:.3g} by {request.selector} from epoch {settings.first_selection + 1} on"
    talk.print(f"{counted(settings.epochs, 'epoch')} on {device}, {plan}, in {out}")
    if method is not None and method.requires & {"gradients", "inputs"} and settings.attack is not None:
        talk.print(attack_said(settings))
    if ranks.world_size() > 1:
        talk.print(f"{ranks.world_size()} ranks share every batch of {settings.batch_size} images, and the selections")
    for words in notes(settings):
        talk.print(words, style="yellow")
    pass_size = given.get("select_batch_size") or (64 if device.type == "cpu" else 256)
    common: dict[str, Any] = {
        "selector": method, "num_workers": machine.workers(device), "timeout": machine.read_timeout, "device": device,
        "select_batch_size": pass_size, "coreset": coreset, "weights": start,
        "division": division.record(settings.seed),
    }  # fmt: skip
    if request.work.dry_run:
        show_forecast(forecast(settings, images, held, **common), json=json)
        return
    with RunProgress(settings.epochs, quiet=not first) as progress:
        result = pretrain(
            settings, images, held, out, store=request.work.store, progress=progress, ended=progress.ended,
            keep_every=request.keep_every, snapshot_every=request.start.snapshot_every, probe_every=request.start.probe_every,
            **common,
        )  # fmt: skip
    if not first:
        return
    if json:
        chosen_by = request.selector or ("full" if coreset is None else str(request.coreset))
        about = {**request.pool.record, **request.conditions.given, "selector": chosen_by, "settings": asdict(settings)}
        last = {"trained": progress.count, "last": result.records[-1]}
        typer.echo(json_.dumps({"out": str(out), **about, **last}))
    else:
        told = _summary(result, progress.count, out, chosen=method is not None or coreset is not None)
        said = picks_said(images, result.records) + told
        Console(highlight=False, markup=False, soft_wrap=True).print(said)


def _summary(result: Pretrained, trained: int, out: Path, *, chosen: bool) -> str:
    """Say what was done, how long it took, and where the results are."""
    training, selecting = (sum(r[part] for r in result.records) for part in ("seconds", "select_seconds"))
    training += sum(guard_seconds(r, "seconds") for r in result.records)
    said = f"{counted(len(result.records), 'epoch')} took {duration(training)}"
    if not trained:
        said = f"nothing was left to train: {said}"
    elif trained < len(result.records):
        said = f"went on after {len(result.records) - trained}: {said}"
    if chosen:
        said += f", selecting {duration(selecting)}; {result.records[-1]['seen']:.0%} of the pool was seen"
    return f"{said}\n{out / MODEL} and {out / LOG} hold the network and the log"

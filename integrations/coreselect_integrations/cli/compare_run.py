"""The work of `coreselect compare`: check everything, train every cell, write the results, and print them."""

import json as json_
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console

from coreselect.cli.configured_command import invocation
from coreselect.cli.launcher import launched
from coreselect.cli.options import AttackOptions, ConditionOptions, MachineOptions, PoolOptions
from coreselect.cli.processes import as_rank
from coreselect.data.items import check_timeout
from coreselect.errors import CoreselectError, DataError, MissingExtraError
from coreselect.support.told import told
from coreselect_integrations.cli.checked_methods import check_methods
from coreselect_integrations.cli.checks_before_work import (
    check_shares,
    classes_in,
    folder_of_run,
    held_out,
    with_classes,
)
from coreselect_integrations.cli.compare_options import EvaluationOptions, StudyOptions
from coreselect_integrations.cli.compare_study import check_study, make_settings, make_study, seeds_in, transfer_name
from coreselect_integrations.cli.compare_table import show
from coreselect_integrations.cli.comparison_progress import ComparisonProgress
from coreselect_integrations.cli.divided import asked_conditions, division_for
from coreselect_integrations.cli.effort_options import EffortOptions
from coreselect_integrations.cli.options import (
    NetworkOptions,
    OwnOptions,
    ScheduleOptions,
    TrainingOptions,
)
from coreselect_integrations.cli.own_network import check_own, own_settings, own_trainer, own_weights
from coreselect_integrations.cli.run_progress import counted
from coreselect_integrations.cli.show_forecast import show_study_forecast
from coreselect_integrations.cli.train_settings import attack_said
from coreselect_integrations.comparison import Runtime, Study
from coreselect_integrations.comparison import compare as compare_methods
from coreselect_integrations.comparison.dealing import Dealing
from coreselect_integrations.comparison.forecast import forecast_study
from coreselect_integrations.comparison.made_by import made_by
from coreselect_integrations.comparison.picture import pareto
from coreselect_integrations.comparison.plan import cells
from coreselect_integrations.comparison.report import caption, write
from coreselect_integrations.comparison.statistics import Record
from coreselect_integrations.pretraining.dataset_shape import check_images
from coreselect_integrations.pretraining.epoch import network_for


@dataclass(frozen=True)
class Request:
    """What a command line of `coreselect compare` asks for."""

    out: Path
    trainer: str | None
    pool: PoolOptions
    study: StudyOptions
    network: NetworkOptions
    training: TrainingOptions
    schedule: ScheduleOptions
    attack: AttackOptions
    effort: EffortOptions
    evaluation: EvaluationOptions
    machine: MachineOptions
    num_threads: int | None
    own: OwnOptions
    dry_run: bool = False
    conditions: ConditionOptions = field(default_factory=ConditionOptions)


def run(request: Request, *, json: bool) -> None:
    """Train every cell, write the results, and print records or tables; under a launcher, processes share the cells.

    Raises:
        typer.Exit: a cell failed.
    """
    with as_rank(request.machine.device, group=False) as device:
        dealing = None if launched() == 1 else Dealing.by_launcher()
        first = dealing is None or dealing.rank == 0
        try:
            study = _checked_study(request)
            with folder_of_run(request.out, locked=first and not request.dry_run):
                _run(request, study, device, dealing, json=json)
        except CoreselectError as why:
            if dealing is not None and not dealing.begun:
                told(why)
            raise


def _run(request: Request, study: Study, device: torch.device, dealing: Dealing | None, *, json: bool) -> None:
    """Do the work as one of the processes; the first writes and speaks."""
    out, data = request.out, request.pool.data
    first = dealing is None or dealing.rank == 0
    check_timeout(request.machine.read_timeout, request.machine.workers(device))
    if request.num_threads is not None:
        torch.set_num_threads(request.num_threads)
    train, test = request.pool.read("train", request.pool.rows), request.pool.read("test", request.evaluation.test_rows)
    study = replace(study, division=division_for(request.conditions, request.pool, train))
    test = study.division.shifted(test)
    _check_labels(data, train, test)
    pools = (held_out(train, study.settings.validation, seed, study.division)[0] for seed in study.seeds)
    study = replace(study, settings=with_classes(study.settings, train, pools))
    if request.own.checkpoint is not None:
        study = replace(study, start=own_weights(request.own, network_for(study.settings, train)))
    about = {
        **study.terms(), **request.pool.record, **request.conditions.given, "transfer": request.evaluation.transfer,
        "pool_size": _check_data(study, data, train, test), "tested": len(test), "selectors": list(study.methods),
        "fractions": list(study.fractions), "seeds": list(study.seeds), "equal": list(study.equal),
        "processes": 1 if dealing is None else dealing.world, "chosen_on": _chosen_on(request),
    }  # fmt: skip
    others = _other_data(study, request, train)
    talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True, quiet=not first)
    what = f"{study.settings.system}, {study.settings.arch} on {data}"
    talk.print(f"{what}: {counted(len(list(cells(study))), 'cell')} on {device}, in {out}")
    if study.settings.attack is not None:
        talk.print(attack_said(study.settings))
    if request.dry_run:
        if first:
            runtime = _runtime(request, device)
            show_study_forecast(
                forecast_study(study, train, runtime), 1 if dealing is None else dealing.world, json=json
            )
        return
    if dealing is not None:
        talk.print(f"{dealing.world} processes share the cells, so as many train at once{_of_seconds(study, device)}")
    with ComparisonProgress(processes=1 if dealing is None else dealing.world) as progress:
        runtime = replace(_runtime(request, device), progress=progress, began=progress.began, ended=progress.ended)
        records = compare_methods(study, train, test, runtime, others, dealing)
    if not first:
        return
    asked = invocation()
    made = made_by(str(device), None if asked is None else asked.line)
    files = write(out, about, records, *_pictures(records, caption(about, records), talk), made=made)
    if json:
        typer.echo(json_.dumps({"study": about, "records": records}))
    else:
        show(records, files, about)
    failed = sum(r["error"] is not None for r in records)
    if failed:
        why = f"{counted(failed, 'cell')} of {len(records)} failed: the reasons are in {out / 'results.json'}"
        talk.print(why, style="red")
        raise typer.Exit(1)


def _chosen_on(request: Request) -> list[int] | None:
    """Return the seeds of --chosen-on, or None without it."""
    named = request.study.chosen_on
    return None if named is None else list(seeds_in(named, "--chosen-on"))


def _runtime(request: Request, device: torch.device) -> Runtime:
    return Runtime(
        folder=request.out, device=device, num_workers=request.machine.workers(device), timeout=request.machine.read_timeout,
        select_batch_size=64 if device.type == "cpu" else 256,
    )  # fmt: skip


def _of_seconds(study: Study, device: torch.device) -> str:
    """Say what seconds mean where several processes train at once."""
    if study.clock == "cpu" or device.type == "cuda":
        return ""
    return ": seconds of the wall clock depend on that, those of --clock cpu hardly do"


def _checked_study(request: Request) -> Study:
    """Make the study, and refuse options that would have no effect."""
    attack, schedule, evaluation = request.attack, request.schedule, request.evaluation
    check_own(request.own, arch=request.network.arch)
    asked_conditions(request.conditions, request.pool)
    trainer, loop = own_trainer(request.trainer)
    code = own_settings(request.own) | loop
    settings = make_settings(
        trainer, request.study, request.pool, request.network, request.training, schedule, attack, code, request.effort
    )
    study = make_study(settings, request.study, evaluation)
    attacked = {"--attack-steps": attack.attack_steps, "--select-attack-steps": schedule.select_attack_steps}
    attacked |= {f"--{name.replace('_', '-')}": value for name, value in vars(request.effort).items()}
    tuning = {"--tuning-epochs": evaluation.tuning_epochs, "--tuning-rows": evaluation.tuning_rows}
    given = [[name for name, value in group.items() if value is not None] for group in (attacked, tuning)]
    check_study(study, *given)
    return study


def _check_data(study: Study, data: str, train: Any, test: Any) -> int:
    """Refuse data that cannot be trained or evaluated on, before the first epoch; return the size of the pool.

    Raises:
        DataError: images of two shapes, or without labels.
        BudgetError: a share of the pool that holds no image.
        RequirementError: a method that cannot work on these networks and losses.
    """
    pool, held = held_out(train, study.settings.validation, 0, study.division)
    spec = network_for(study.settings, pool)
    check_methods(study, spec, pool, held)
    check_shares(study.fractions, len(pool))
    check_images(test, spec, f"{data}, test")
    return len(pool)


def _other_data(study: Study, request: Request, train: Any) -> dict[str, tuple[Any, Any]]:
    """Read the dataset of --transfer, by its name, resized as that of --data; nothing without one.

    Raises:
        DataError: images of another shape, or without labels.
    """
    where = request.evaluation.transfer
    if where is None:
        return {}
    images = replace(request.pool, data=where)
    both = images.read("train", None), images.read("test", request.evaluation.test_rows)
    _check_labels(where, *both)
    for images, name in zip(both, (where, f"{where}, test"), strict=True):
        check_images(images, network_for(study.settings, train), name)
    return {transfer_name(where): both}


def _check_labels(data: str, train: Any, test: Any) -> None:
    """Refuse a dataset without labels, which no network can be evaluated on.

    Raises:
        DataError: it has none, or its test images have more classes.
    """
    known = classes_in(train, data, "training or fine-tuning a classifier")
    asked = classes_in(test, f"{data}, test", "an accuracy")
    if asked > known:
        raise DataError(
            f"{data}, test has labels up to {asked - 1}, and the training images have none above {known - 1}: give training images "
            "of every class."
        )


def _pictures(records: Sequence[Record], said: str, talk: Console) -> list[bytes | None]:
    """Draw the picture as PNG, PDF and SVG; None, and a note, without matplotlib."""
    try:
        return [pareto(records, said, kind) for kind in ("png", "pdf", "svg")]
    except MissingExtraError as why:
        talk.print(f"no picture: {why}", style="yellow")
        return [None, None, None]

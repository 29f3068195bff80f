"""The work of `coreselect compare`: check everything, train every cell, write the results, and print them."""

import json as json_
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console

from coreselect.budget import resolve
from coreselect.cli.device import device_on
from coreselect.cli.options import AttackOptions, MachineOptions, PoolOptions
from coreselect.data.items import check_timeout
from coreselect.errors import BudgetError, MissingExtraError
from coreselect_integrations.cli.checks_before_work import check_folder, classes_in, held_out
from coreselect_integrations.cli.compare_options import EvaluationOptions, StudyOptions
from coreselect_integrations.cli.compare_study import check_study, make_settings, make_study, transfer_name
from coreselect_integrations.cli.compare_table import show
from coreselect_integrations.cli.comparison_progress import ComparisonProgress
from coreselect_integrations.cli.options import NetworkOptions, ScheduleOptions, TrainingOptions
from coreselect_integrations.cli.run_progress import counted
from coreselect_integrations.cli.train_settings import attack_said
from coreselect_integrations.comparison import Runtime, Study
from coreselect_integrations.comparison import compare as compare_methods
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
    evaluation: EvaluationOptions
    machine: MachineOptions
    num_threads: int | None


def run(request: Request, *, json: bool) -> None:
    """Train every cell, write the results, and print records or tables.

    Raises:
        typer.Exit: a cell failed.
    """
    out, data = request.out, request.pool.data
    study = _checked_study(request)
    device = device_on(request.machine.device)
    check_timeout(request.machine.read_timeout, request.machine.workers(device))
    if request.num_threads is not None:
        torch.set_num_threads(request.num_threads)
    check_folder(out)
    train, test = request.pool.read("train", request.pool.rows), request.pool.read("test", request.evaluation.test_rows)
    about = {
        **study.terms(), **request.pool.record, "transfer": request.evaluation.transfer,
        "pool_size": _check_data(study, data, train, test), "tested": len(test), "selectors": list(study.methods),
        "fractions": list(study.fractions), "seeds": list(study.seeds), "equal": list(study.equal),
    }  # fmt: skip
    others = _other_data(study, request, train)
    talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    what = f"{study.settings.system}, {study.settings.arch} on {data}"
    talk.print(f"{what}: {counted(len(list(cells(study))), 'cell')} on {device}, in {out}")
    if study.settings.attack is not None:
        talk.print(attack_said(study.settings))
    with ComparisonProgress() as progress:
        runtime = Runtime(
            folder=out, device=device, num_workers=request.machine.workers(device), timeout=request.machine.read_timeout,
            progress=progress, began=progress.began, ended=progress.ended, select_batch_size=64 if device.type == "cpu" else 256,
        )  # fmt: skip
        records = compare_methods(study, train, test, runtime, others)
    files = write(out, about, records, *_pictures(records, caption(about, records), talk))
    if json:
        typer.echo(json_.dumps({"study": about, "records": records}))
    else:
        show(records, files)
    failed = sum(r["error"] is not None for r in records)
    if failed:
        why = f"{counted(failed, 'cell')} of {len(records)} failed: the reasons are in {out / 'results.json'}"
        talk.print(why, style="red")
        raise typer.Exit(1)


def _checked_study(request: Request) -> Study:
    """Make the study, and refuse options that would have no effect."""
    attack, schedule, evaluation = request.attack, request.schedule, request.evaluation
    settings = make_settings(
        request.trainer, request.study, request.pool, request.network, request.training, schedule, attack
    )
    study = make_study(settings, request.study, evaluation)
    attacked = {"--attack-steps": attack.attack_steps, "--select-attack-steps": schedule.select_attack_steps}
    tuning = {"--tuning-epochs": evaluation.tuning_epochs, "--tuning-rows": evaluation.tuning_rows}
    given = [[name for name, value in group.items() if value is not None] for group in (attacked, tuning)]
    check_study(study, *given)
    return study


def _check_data(study: Study, data: str, train: Any, test: Any) -> int:
    """Refuse data that cannot be trained or evaluated on, before the first epoch; return the size of the pool.

    Raises:
        DataError: images of two shapes, or without labels.
        BudgetError: a share of the pool that holds no image.
    """
    pool, _ = held_out(train, study.settings.validation, 0)
    for fraction in study.fractions:
        try:
            resolve(fraction, len(pool))
        except BudgetError as error:
            why = f"--fractions {fraction:g} of {counted(len(pool), 'image')} is none: give a larger one."
            raise BudgetError(why) from error
    _check_labels(data, train, test)
    check_images(test, network_for(study.settings, pool), f"{data}, test")
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
        DataError: it has none.
    """
    classes_in(train, data, "training or fine-tuning a classifier")
    classes_in(test, f"{data}, test", "an accuracy")


def _pictures(records: Sequence[Record], said: str, talk: Console) -> tuple[bytes | None, bytes | None]:
    """Draw the picture as PNG and as PDF; None, and a note, without matplotlib."""
    try:
        return pareto(records, said), pareto(records, said, "pdf")
    except MissingExtraError as why:
        talk.print(f"no picture: {why}", style="yellow")
        return None, None

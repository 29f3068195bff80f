"""The work of `coreselect race`: check everything, race, write the report, and print it."""

import json as json_
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import typer
from rich.console import Console

from coreselect.cli.configured_command import invocation
from coreselect.cli.options import AttackOptions, MachineOptions, PoolOptions
from coreselect.cli.processes import as_rank
from coreselect.data.items import check_timeout
from coreselect.errors import CoreselectError
from coreselect.io.sole_use import shared_use
from coreselect_integrations.cli.checks_before_work import (
    check_filters,
    check_folder,
    check_shares,
    classes_in,
    held_out,
    with_classes,
)
from coreselect_integrations.cli.compare_options import StudyOptions
from coreselect_integrations.cli.compare_study import make_settings, shares, words_in
from coreselect_integrations.cli.options import NetworkOptions, OwnOptions, ScheduleOptions, TrainingOptions
from coreselect_integrations.cli.own_network import check_own, own_settings, own_trainer, own_weights
from coreselect_integrations.cli.race_options import RaceOptions, RaceTrainingOptions
from coreselect_integrations.cli.race_progress import RaceProgress
from coreselect_integrations.cli.race_table import forecast_lines, show, show_forecast
from coreselect_integrations.cli.run_progress import counted
from coreselect_integrations.comparison.made_by import made_by
from coreselect_integrations.comparison.statistics import FULL
from coreselect_integrations.pretraining.epoch import network_for
from coreselect_integrations.racing.arms import Arm, arms_of
from coreselect_integrations.racing.costs import costs_of
from coreselect_integrations.racing.dealt import taken
from coreselect_integrations.racing.plan import Budget, Cost
from coreselect_integrations.racing.race import check_hours, run_race
from coreselect_integrations.racing.report import as_json, write_report
from coreselect_integrations.racing.setting import Images, Place, Race
from coreselect_integrations.training.effort import Effort


@dataclass(frozen=True)
class Request:
    """What a command line of `coreselect race` asks for."""

    out: Path
    trainer: str | None
    pool: PoolOptions
    options: RaceOptions
    preset: str | None
    own: OwnOptions
    network: NetworkOptions
    training: RaceTrainingOptions
    radius: float | None
    seed: int | None
    machine: MachineOptions
    num_threads: int | None
    dry_run: bool


def run(request: Request, *, json: bool) -> None:
    """Race, write the report, and print it; or print only what the race would spend."""
    with as_rank(request.machine.device, group=False) as device:
        race = checked_race(request)
        check_folder(request.out)
        with nullcontext() if request.dry_run else shared_use(request.out, "the folder of a race"):
            _run(request, race, device, json=json)


def _run(request: Request, race: Race, device: torch.device, *, json: bool) -> None:
    """Do the work on a device."""
    machine, out = request.machine, request.out
    check_timeout(machine.read_timeout, machine.workers(device))
    if request.num_threads is not None:
        torch.set_num_threads(request.num_threads)
    train = request.pool.read("train", request.pool.rows)
    classes_in(train, request.pool.data, "judging the networks of a race")
    rest, judged = held_out(train, race.judged, race.settings.seed, option="--judge-on")
    pool, held = held_out(rest, race.settings.validation, race.settings.seed)
    race = replace(race, settings=with_classes(race.settings, train, [pool]))
    check_shares([arm.fraction for arm in race.arms if arm.method != FULL], len(pool))
    for arm in race.arms:
        check_filters(arm.selector(race.settings), arm.fraction, pool)
    if request.own.checkpoint is not None:
        race = replace(race, start=own_weights(request.own, network_for(race.settings, pool)))
    talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    talk.print(
        f"{race.settings.system}, {race.settings.arch} on {request.pool.data}: {counted(len(pool), 'image')}, {len(held):,} more "
        f"held out for selections and {len(judged):,} that judge"
    )
    talk.print(f"{counted(len(race.arms), 'arm')} for {request.options.hours:g} hours on {device}, in {out}")
    place = Place(
        out, device, machine.workers(device), machine.read_timeout, 64 if device.type == "cpu" else 256
    )  # fmt: skip
    if request.dry_run:
        with TemporaryDirectory() as folder:
            costs = costs_of(race, Images.of(race, train), replace(place, folder=Path(folder)))
        check_hours(race, costs, 0.0)
        show_forecast(race.budget, costs, 0.0, json=json)
        return

    def costed(costs: Mapping[Arm, Cost], spent: float) -> None:
        talk.print("\n".join(forecast_lines(race.budget, costs, spent)))

    with RaceProgress() as progress:
        place = replace(
            place,
            progress=progress,
            costed=costed,
            planned=progress.planned,
            began=progress.began,
            ended=progress.ended,
        )
        outcome = run_race(race, train, place)
    asked = invocation()
    about: dict[str, Any] = {
        **request.pool.record, "made": dict(made_by(str(device), None if asked is None else asked.line)),
        "pool_size": len(pool), "judged": len(judged),
    }  # fmt: skip
    record, files = as_json(race, outcome, about), list[Path]()
    with taken(out, "report") as mine:
        if mine:
            files, missed = write_report(out, outcome, record)
            for words in missed:
                talk.print(words, style="yellow")
    if json:
        typer.echo(json_.dumps(record))
    else:
        show(outcome, files)


def checked_race(request: Request) -> Race:
    """Make the race that the options describe, and refuse those that make no sense.

    Raises:
        typer.BadParameter: an option cannot be read, a method cannot be used, or the system attacks nothing.
    """
    options, training = request.options, request.training
    check_own(request.own, arch=request.network.arch)
    trainer, loop = own_trainer(request.trainer)
    code = own_settings(request.own) | loop
    settings = make_settings(
        trainer, StudyOptions(preset=request.preset), request.pool, request.network, TrainingOptions(**vars(training)),
        ScheduleOptions(), AttackOptions(radius=request.radius), code,
    )  # fmt: skip
    settings = replace(settings, seed=request.seed or 0)
    for wrong, why in (
        (settings.attack is None, f"{settings.system} trains without an attack: a race is for systems with one."),
        (not options.hours, "--hours is above 0."),
        (not 0 < options.race_share < 1, f"--race-share is between 0 and 1, got {options.race_share:g}."),
        (not options.judge_on, "--judge-on is a share above 0, or a count."),
        (
            options.judge_on > 1 and options.judge_on != int(options.judge_on),
            "--judge-on is a share below 1, or a whole number of images.",
        ),
    ):
        if wrong:
            raise typer.BadParameter(why)
    try:
        efforts = [Effort.parse(word) for word in words_in(options.efforts)]
    except CoreselectError as why:
        raise typer.BadParameter(f"--efforts: {why}") from why
    fractions = shares(options.fractions)
    try:
        arms = arms_of(words_in(options.arms), fractions, efforts, settings.start)
    except CoreselectError as why:
        raise typer.BadParameter(f"--arms: {why}") from why
    if not arms:
        raise typer.BadParameter("--arms and --efforts name what is raced: rs2,rcs and 1x1.5,5 are a start.")
    for arm in arms:
        try:
            arm.selector(settings)
        except CoreselectError as why:
            raise typer.BadParameter(f"--arms: {why}") from why
    budget = Budget(3600 * options.hours, options.race_share, options.halving, options.processes)
    return Race(settings, arms, budget, options.judge_on)

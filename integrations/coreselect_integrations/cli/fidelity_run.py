"""The work of `coreselect fidelity`: load or warm up the network, measure, and print the report."""

import json as json_
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console

from coreselect import Selector, Task
from coreselect.cli.device import device_on
from coreselect.cli.options import AttackOptions, MachineOptions, PoolOptions, RcsOptions, WarmupOptions
from coreselect.data.items import check_timeout
from coreselect.errors import CoreselectError
from coreselect.io.fingerprint import fingerprint
from coreselect.network.placing import placed
from coreselect.protocols import Progress
from coreselect.selectors import RCS
from coreselect.support.progress import progress
from coreselect_integrations.cli.checks_before_work import classes_in, held_out, network_at
from coreselect_integrations.cli.effort_options import attack_settings
from coreselect_integrations.cli.fidelity_options import RcsMeasuredOptions, ReportOptions
from coreselect_integrations.cli.fidelity_tables import show
from coreselect_integrations.cli.options import OwnModelAndViews, OwnOptions
from coreselect_integrations.cli.own_network import check_own, own_settings, own_weights, source_of
from coreselect_integrations.cli.run_progress import counted
from coreselect_integrations.comparison.fidelity import fidelity as measure
from coreselect_integrations.comparison.fidelity_report import Fidelity
from coreselect_integrations.comparison.methods import selector_for, settings_for
from coreselect_integrations.networks import RoutedNetwork, Saved, restore, route_call
from coreselect_integrations.networks.class_names import check_class_names
from coreselect_integrations.pretraining.dataset_shape import check_images
from coreselect_integrations.pretraining.epoch import network_for
from coreselect_integrations.pretraining.presets import defaults
from coreselect_integrations.pretraining.settings import SYSTEMS, Settings
from coreselect_integrations.pretraining.trained import epoch_of, settings_of_network
from coreselect_integrations.pretraining.trusted_draws import TrustedDraws
from coreselect_integrations.pretraining.warmup import image_shape, warm_network


@dataclass(frozen=True)
class Request:
    """What a command line of `coreselect fidelity` asks for."""

    from_: Path | None
    pool: PoolOptions
    report: ReportOptions
    fraction: float | None
    warmup: WarmupOptions
    rcs: RcsOptions
    measured: RcsMeasuredOptions
    attack: AttackOptions
    batch_size: int | None
    seed: int
    machine: MachineOptions
    num_threads: int | None
    own: OwnModelAndViews
    train_radius: str | None = None


def run(request: Request, *, json: bool) -> None:
    """Measure, and print the report."""
    data = request.pool.data
    widths = _widths(request.measured.sketch)
    device = device_on(request.machine.device)
    check_timeout(request.machine.read_timeout, request.machine.workers(device))
    if request.num_threads is not None:
        torch.set_num_threads(request.num_threads)
    check_own(request.own, request.from_)
    code = own_settings(OwnOptions(**vars(request.own), loss=request.warmup.loss), known_losses=("sat", "acl"))
    saved = None if request.from_ is None else network_at(request.from_)
    settings = _settings(request, saved, code)
    rcs = selector_for("rcs", settings)
    assert isinstance(rcs, RCS)
    rcs = replace(rcs, group_size=request.measured.group_size or settings.group_size)
    methods = _methods(request.report.selectors, settings)
    dataset = request.pool.read("train", request.pool.rows)
    pool, held = held_out(dataset, settings.validation, settings.seed)
    if SYSTEMS[settings.system].supervised:
        classes_in(dataset, data, "supervised training")
    if settings.flip is None:
        settings = replace(settings, flip=image_shape(pool)[0] > 1)
    if saved is None and request.own.model is not None:
        saved = own_weights(request.own, network_for(settings, pool))
    if saved is not None:
        check_images(pool, saved.spec, data)
        check_class_names(saved, dataset, data)
        if (
            request.from_ is not None
            and request.pool.validation is None
            and saved.about.get("data") != fingerprint(pool)
        ):
            talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
            talk.print(f"note: {request.from_} was trained on another pool than this one of {data}", style="yellow")
    with progress() as report:
        if saved is not None:
            network, said = placed(restore(saved), device).eval(), source_of(request.from_, request.own)
        else:
            network, said = _warmed(request, settings, pool, report, device)
        last = settings.epochs - 1 if saved is None else epoch_of(saved, settings)
        task = _task(request, settings, last, network, pool, held, device)
        result = measure(
            task.reporting(report), methods, settings.fraction, rcs=rcs, groups=request.report.groups,
            sets=request.report.sets, widths=widths, seed=request.seed,
        )  # fmt: skip
    _print(request, settings, said, result, json=json)


def _print(request: Request, settings: Settings, network: str, result: Fidelity, *, json: bool) -> None:
    """Print the report as JSON, or as a heading and tables."""
    data, step = request.pool.data, request.report.step
    if json:
        about = {
            "network": network,
            **request.pool.record,
            "system": settings.system,
            "step": step,
            "seed": request.seed,
        }
        typer.echo(json_.dumps({**about, **asdict(result)}, indent=2))
        return
    where = f"{network}; {settings.system} on {data}: {counted(result.pool, 'image')}, {result.validation:,} held out"
    show(result, step, f"{where}; RD {result.rd:.4g}")


def _settings(request: Request, saved: Saved | None, code: Mapping[str, Any]) -> Settings:
    """Return the settings of training, with what the command line changes; in full precision, and under its attack.

    bfloat16 is one of the approximations that are measured, and so are fewer steps.
    """
    if saved is not None:
        found = settings_of_network(saved, request.from_)
        wrong = [name for name, value in code.items() if getattr(found, name) != value]
        if wrong:
            why = f"{request.from_} was trained with {wrong[0]} {getattr(found, wrong[0])}, not with {code[wrong[0]]}."
            raise typer.BadParameter(why)
    else:
        system = request.warmup.loss if request.warmup.loss in ("sat", "acl") else "sat"
        found = replace(defaults(system), arch="small", validation=0.05, seed=request.seed)
        radius = request.attack.radius
        if radius is not None:
            found = replace(found, radius=radius, step=radius / 4 or 1.0)
    changed = {
        "validation": request.pool.validation, "fraction": request.fraction, "eta": request.rcs.eta,
        "rd_steps": request.rcs.rd_steps, "arch": request.warmup.arch,
        "select_attack_steps": request.attack.attack_steps, "capture": request.report.step,
    }  # fmt: skip
    if request.train_radius is not None:
        changed |= attack_settings(found, {"train_radius": request.train_radius})
    exact = {"precision": "fp32", "select_attack_steps": None, **code}
    return replace(found, **{**exact, **{name: v for name, v in changed.items() if v is not None}})


def _task(
    request: Request, settings: Settings, last: int, network: RoutedNetwork, pool: Any, held: Any, device: torch.device
) -> Task:
    """Make the task of epoch `last` of training, after which the network was saved."""
    return Task.from_model(
        network, pool, held, loss=settings.loss(last), attack=settings.select_attack, call=route_call,
        views=settings.views(last), capture="all" if request.report.step == "all" else None,
        num_workers=request.machine.workers(device), timeout=request.machine.read_timeout, device=device,
        batch_size=request.batch_size or (64 if device.type == "cpu" else 256),
    )  # fmt: skip


def _warmed(
    request: Request, settings: Settings, pool: Any, report: Progress, device: torch.device
) -> tuple[RoutedNetwork, str]:
    """Train a small network as `coreselect select` does; return it, and a line about it."""
    epochs = 1 if request.warmup.warmup_epochs is None else request.warmup.warmup_epochs
    network, record = warm_network(
        pool, arch=settings.arch, loss=settings.system, epochs=epochs, radius=settings.radius, seed=request.seed,
        progress=report, device=device,
    )  # fmt: skip
    assert isinstance(network, RoutedNetwork)
    return network, f"{settings.arch}, warmed up for {counted(epochs, 'epoch')} in {record.seconds:.0f} s"


def _methods(text: str, settings: Settings) -> dict[str, Selector]:
    """Make the methods of `rcs,random`, each once.

    Raises:
        typer.BadParameter: there is none, one cannot be made, or one needs a capture or an attack of its own.
    """
    words = dict.fromkeys(word.strip() for word in text.split(",") if word.strip())
    if not words:
        raise typer.BadParameter(f"--selectors names no method, got {text!r}; rcs,random is a start.")
    try:
        made = {word: selector_for(word, settings) for word in words}
        own = [word for word in words if settings_for(word, settings) != settings]
    except CoreselectError as why:
        raise typer.BadParameter(f"--selectors: {why}") from why
    if any(isinstance(one, TrustedDraws) for one in made.values()):
        raise typer.BadParameter(
            "--selectors: validation_only and +validation train on the validation set, which fidelity does not do: use them in "
            "train, compare or race."
        )
    if own:
        raise typer.BadParameter(
            f"--selectors: {own[0]!r} needs another capture or attack than the other methods: give --step, --attack-steps or "
            "--rd-steps, which are for all."
        )
    return made


def _widths(text: str | None) -> list[int] | None:
    """Read `64,512`.

    Raises:
        typer.BadParameter: it is no list of whole numbers above 0.
    """
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdigit() and int(word) for word in words):
        raise typer.BadParameter(f"--sketch is widths of 1 or more, separated by commas, such as 64,512, got {text!r}.")
    return list(dict.fromkeys(map(int, words)))

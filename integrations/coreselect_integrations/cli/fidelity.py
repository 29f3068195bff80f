"""`coreselect fidelity`: how far the approximations of RCS can be trusted at a checkpoint, and what each would save."""

from __future__ import annotations

import json as json_
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from coreselect import Selector, Task
from coreselect.cli.progress import progress
from coreselect.data import load
from coreselect.errors import CoreselectError, RequirementError
from coreselect.io.fingerprint import fingerprint
from coreselect.protocols import Progress
from coreselect.selectors import RCS
from coreselect_integrations.cli.early import check_images, classes_in, device_on, held_out, network_at
from coreselect_integrations.cli.live import some
from coreselect_integrations.comparison.fidelity import Fidelity
from coreselect_integrations.comparison.fidelity import fidelity as measure
from coreselect_integrations.comparison.methods import selector_for, settings_for
from coreselect_integrations.networks import RoutedNetwork, restore, route_call
from coreselect_integrations.networks.class_names import check_class_names
from coreselect_integrations.pretraining.presets import defaults
from coreselect_integrations.pretraining.settings import EARLIER, NAMES, SYSTEMS, Settings
from coreselect_integrations.pretraining.warmup import LOSSES, image_shape, warm_network

STEPS = ("head", "all")
LINEAR = 0.9  # where a first-order gain is exact but for η², ranks agree by more than this
_WARM, _RCS, _RUN = "Without --from: a network is warmed up", "RCS as it is judged", "Run"


def fidelity(
    from_: Annotated[
        Path | None, typer.Option("--from", help="model.pt of `coreselect train`; else a network is warmed up.")
    ] = None,
    data: Annotated[str, typer.Option(help="As `coreselect train --data`: what it was trained on.")] = "digits",
    rows: Annotated[int | None, typer.Option(min=2, help="Only so many training images, as in training.")] = None,
    validation: Annotated[
        float | None, typer.Option(min=0.0, help="Held out for RD, share or count; else as in training, or 0.05.")
    ] = None,
    selectors: Annotated[
        str, typer.Option(help="Methods whose G is measured, with commas, e.g. rcs:objective=js or rcs+redraw.")
    ] = "rcs,random",
    fraction: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Of a set; else as in training.")] = None,
    groups: Annotated[int, typer.Option(min=3, help="Random groups that gains are judged on.")] = 32,
    sets: Annotated[int, typer.Option(min=2, help="Random sets that G is held against.")] = 20,
    step: Annotated[str, typer.Option(help="What G moves and methods capture: head, or all.")] = "head",
    json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    eta: Annotated[float | None, typer.Option(help="Scratch step; else as in training.", rich_help_panel=_RCS)] = None,
    group_size: Annotated[
        int | None, typer.Option(min=1, help="Examples a group; else min(64, budget / 8).", rich_help_panel=_RCS)
    ] = None,
    attack_steps: Annotated[
        int | None,
        typer.Option(min=0, help="Of captured gradients, 1.25 radii in all; else training's.", rich_help_panel=_RCS),
    ] = None,
    rd_steps: Annotated[
        int | None, typer.Option(min=1, help="Of RD's attack; else as in training.", rich_help_panel=_RCS)
    ] = None,
    sketch: Annotated[
        str | None,
        typer.Option(help="Widths to try, with commas; else of 64,512,4096 the useful.", rich_help_panel=_RCS),
    ] = None,
    loss: Annotated[str | None, typer.Option(help="sat or acl; else sat.", rich_help_panel=_WARM)] = None,
    arch: Annotated[
        str | None, typer.Option(help="As `coreselect train --arch`; else small.", rich_help_panel=_WARM)
    ] = None,
    warmup_epochs: Annotated[int | None, typer.Option(min=0, help="Else 1.", rich_help_panel=_WARM)] = None,
    radius: Annotated[
        float | None, typer.Option(min=0.0, help="Of attacks; else 8/255.", rich_help_panel=_WARM)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Of forward passes; else 256, or 64 on a CPU.", rich_help_panel=_RUN)
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the report's draws.", rich_help_panel=_RUN)] = 0,
    num_workers: Annotated[int, typer.Option(min=0, help="Processes that read images.", rich_help_panel=_RUN)] = 0,
    read_timeout: Annotated[
        float, typer.Option(min=0.0, help="Seconds to wait for a batch of these; 0 for ever.", rich_help_panel=_RUN)
    ] = 0.0,
    num_threads: Annotated[
        int | None, typer.Option(min=1, help="Of a CPU; else torch's.", rich_help_panel=_RUN)
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; else cuda if any.", rich_help_panel=_RUN)] = None,
) -> None:
    """Say how far first-order gains, head-only rows and cheaper settings can be trusted at a checkpoint.

    Three questions: do gains rank groups as true decreases of RD do, for a step of the head and of the whole model; by how
    many standard deviations do methods beat random sets of their size; and what does each approximation save in seconds and
    lose in G, the negative RD after the set's step, attacked anew.
    """
    warm = {"--loss": loss, "--arch": arch, "--warmup-epochs": warmup_epochs, "--radius": radius}
    lost = [name for name, value in warm.items() if value is not None]
    if from_ is not None and lost:
        why = f"{', '.join(lost)} would be without effect with --from: it is for a network that is warmed up."
        raise typer.BadParameter(why)
    if loss is not None and loss not in LOSSES:
        raise typer.BadParameter(f"--loss is {' or '.join(LOSSES)} for a network that is warmed up, got {loss!r}.")
    if step not in STEPS:
        raise typer.BadParameter(f"--step is {' or '.join(STEPS)}, got {step!r}.")
    if validation is not None and validation > 1 and validation != int(validation):
        raise typer.BadParameter("--validation is a share below 1, or a whole number of images.")
    widths = _widths(sketch)
    where = device_on(device)
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    saved = None if from_ is None else network_at(from_)
    if saved is None:
        found = replace(defaults(loss or "sat"), arch="small", validation=0.05, seed=seed)
        if radius is not None:
            found = replace(found, radius=radius, step=radius / 4 or 1.0)
    else:
        found = settings_in(saved.about, from_)
    changed = {
        "validation": validation, "fraction": fraction, "eta": eta, "rd_steps": rd_steps, "arch": arch,
        "select_attack_steps": attack_steps, "capture": step,
    }  # fmt: skip
    # approximations are held against full precision
    settings = replace(found, precision="fp32", **{name: v for name, v in changed.items() if v is not None})
    rcs = selector_for("rcs", settings)
    assert isinstance(rcs, RCS)
    rcs = replace(rcs, group_size=group_size)
    methods = _methods(selectors, settings)
    supervised = SYSTEMS[settings.system].supervised
    dataset = load(data, "train", rows)
    pool, held = held_out(dataset, settings.validation, settings.seed)
    if supervised:
        classes_in(dataset, data, "supervised training")
    if settings.flip is None:
        settings = replace(settings, flip=image_shape(pool)[0] > 1)
    talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    if saved is not None:
        check_images(pool, saved.spec, data)
        check_class_names(saved, dataset, data)
        if validation is None and saved.about.get("data") != fingerprint(pool):
            talk.print(f"note: {from_} was trained on another pool than this one of {data}", style="yellow")
    with progress() as report:
        if saved is not None:
            network, said = restore(saved).to(where).eval(), str(from_)
        else:
            network, said = _warmed(settings, pool, 1 if warmup_epochs is None else warmup_epochs, seed, report, where)
        last = settings.epochs - 1
        task = Task.from_model(
            network, pool, held, loss=settings.loss(last), attack=settings.select_attack, call=route_call,
            views=settings.views(last), capture="all" if step == "all" else None, num_workers=num_workers,
            timeout=read_timeout, device=where, batch_size=batch_size or (64 if where.type == "cpu" else 256),
        )  # fmt: skip
        result = measure(
            task.reporting(report), methods, settings.fraction, rcs=rcs, groups=groups, sets=sets, widths=widths, seed=seed,
        )  # fmt: skip
    if json:
        about = {"network": said, "data": data, "system": settings.system, "step": step, "seed": seed}
        typer.echo(json_.dumps({**about, **asdict(result)}, indent=2))
        return
    console = Console(highlight=False)
    told = f"{said}; {settings.system} on {data}: {some(result.pool, 'image')}, {result.validation:,} held out"
    console.print(f"{told}; RD {result.rd:.4g}", soft_wrap=True, markup=False)
    console.print(*_tables(result, step), sep="\n")
    own = result.agreements[0].held
    if own is not None and own < LINEAR:
        why = (
            f"head gains rank the head's own steps by {own:+.2f} only, inputs held: steps leave the linear range here, a "
            f"smaller --eta than {result.eta:g} stays in it."
        )
        console.print(why, style="yellow")


def settings_in(about: Mapping[str, Any], path: Path | None) -> Settings:
    """Read the settings that a run of training wrote beside its weights.

    Raises:
        RequirementError: it is no such run.
    """
    known = {**EARLIER, **about}
    if not set(NAMES) <= set(known):
        why = f"{path} does not say how it was trained: --from takes the model.pt that `coreselect train` ends with."
        raise RequirementError(why)
    own = {name: known[name] for name in NAMES}
    return Settings(**{**own, "milestones": tuple(own["milestones"])})


def _warmed(
    settings: Settings, pool: Any, epochs: int, seed: int, report: Progress, where: torch.device
) -> tuple[RoutedNetwork, str]:
    """Train a small network as `coreselect select` does."""
    network, record = warm_network(
        pool, arch=settings.arch, loss=settings.system, epochs=epochs, radius=settings.radius, seed=seed,
        progress=report, device=where,
    )  # fmt: skip
    assert isinstance(network, RoutedNetwork)
    return network, f"{settings.arch}, warmed up for {some(epochs, 'epoch')} in {record.seconds:.0f} s"


def _methods(text: str, settings: Settings) -> dict[str, Selector]:
    """Make methods written with commas, each once; all read one capture and attack, so none has its own."""
    words = dict.fromkeys(word.strip() for word in text.split(",") if word.strip())
    if not words:
        raise typer.BadParameter(f"--selectors names no method, got {text!r}; rcs,random is a start.")
    try:
        made = {word: selector_for(word, settings) for word in words}
        own = [word for word in words if settings_for(word, settings) != settings]
    except CoreselectError as why:
        raise typer.BadParameter(f"--selectors: {why}") from why
    if own:
        raise typer.BadParameter(
            f"--selectors: {own[0]!r} needs another capture or attack than the other methods: give --step, --attack-steps or "
            "--rd-steps, which are for all."
        )
    return made


def _widths(text: str | None) -> list[int] | None:
    """Read `64,512`."""
    words = None if text is None else [word.strip() for word in text.split(",")]
    if words is None or all(word.isdigit() and int(word) for word in words):
        return None if words is None else list(dict.fromkeys(map(int, words)))
    raise typer.BadParameter(f"--sketch is widths of 1 or more with commas, such as 64,512, got {text!r}.")


def _tables(r: Fidelity, step: str) -> list[Table]:
    """Lay the three answers out, for 80 columns."""
    moved = "head" if step == "head" else "whole model"
    first = _table(
        f"do gains rank {r.groups} groups of {r.group_size} as RD does? (Spearman, η {r.eta:g})",
        ("gain of", "step on", "inputs held", "re-crafted"),
    )
    for a in r.agreements:
        named = f"{a.gains} to {r.sketch:,}" if "sketched" in a.gains else a.gains
        first.add_row(named, a.step, *("–" if c is None else f"{c:+.3f}" for c in (a.held, a.recrafted)))
    second = _table(
        f"G of {r.budget:,} images, step on the {moved} ({r.parameters:,} parameters)",
        ("method", "G", "sds", "seconds"),
    )
    second.add_row(f"{r.sets} random sets", f"{r.random_mean:.5g}", f"±{r.random_sd:.2g}", "", style="bold")
    for w in r.methods:
        second.add_row(w.name, f"{w.g:.5g}", _signed(w.sds), f"{w.seconds:.2f}")
    third = _table(
        "what approximations of rcs cost: gain over random kept, picks in common",
        ("", "G", "sds", "kept %", "same %", "seconds"),
    )
    for c in r.costs:
        kept = "–" if c.kept is None else f"{100 * c.kept:.1f}"
        named = "rcs as set" if c.name == "rcs" else c.name
        third.add_row(named, f"{c.g:.5g}", _signed(c.sds), kept, f"{100 * c.shared:.0f}", f"{c.seconds:.2f}")
    return [first, second, third]


def _signed(sds: float | None) -> str:
    return "–" if sds is None else f"{sds:+.1f}"


def _table(title: str, columns: tuple[str, ...]) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1), title_justify="left", min_width=len(title))
    for at, column in enumerate(columns):
        table.add_column(column, justify="right" if at else "left", no_wrap=True)
    return table

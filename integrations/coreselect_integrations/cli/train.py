"""`coreselect train`: pre-train with any of the papers' systems, with a selector plugged in or without."""

import json as json_
from collections.abc import Collection, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from coreselect import Selector
from coreselect.data import load
from coreselect_integrations.cli.belonging import idle, options
from coreselect_integrations.cli.early import check_folder, device_on, held_out
from coreselect_integrations.cli.live import Live, duration, some
from coreselect_integrations.comparison.methods import RUN, selector_for, settings_for
from coreselect_integrations.pretraining.presets import defaults, preset
from coreselect_integrations.pretraining.run import MODEL, Pretrained, pretrain
from coreselect_integrations.pretraining.settings import NAMES, SYSTEMS, Settings
from coreselect_integrations.training.runs import LOG

OPTIONS = (*NAMES, "eta", "rd_steps", "select_batch_size")
_RUN, _OPTIMISER, _ATTACK, _CORESET, _CONTRASTIVE = "Run", "Optimiser", "Attack", "Coreset", "Contrastive systems"


def train(
    system: Annotated[str | None, typer.Argument(help=f"{', '.join(SYSTEMS)}.")] = None,
    data: Annotated[
        str, typer.Option(help="digits, an array folder, CIFAR or ImageNet-32 files, an image folder, or a factory.")
    ] = "digits",
    out: Annotated[Path, typer.Option(help="Folder of the run; a run that is there goes on.")] = Path("out/train"),
    preset_: Annotated[
        str | None, typer.Option("--preset", help="Published settings, e.g. cifar10-acl or imagenet32-sat.")
    ] = None,
    arch: Annotated[
        str | None, typer.Option(help="small, resnet18, resnet34, resnet50 or wrn28_10.", rich_help_panel=_RUN)
    ] = None,
    stem: Annotated[str | None, typer.Option(help="cifar (3×3) or imagenet (7×7).", rich_help_panel=_RUN)] = None,
    epochs: Annotated[int | None, typer.Option(min=1, rich_help_panel=_RUN)] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, rich_help_panel=_RUN)] = None,
    seed: Annotated[int | None, typer.Option(help="Decides every draw.", rich_help_panel=_RUN)] = None,
    rows: Annotated[
        int | None, typer.Option(min=2, help="Only the first so many images.", rich_help_panel=_RUN)
    ] = None,
    flip: Annotated[bool | None, typer.Option(help="Mirror images.", rich_help_panel=_RUN)] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32 or bf16; of a selection, its attack.", rich_help_panel=_RUN)
    ] = None,
    num_workers: Annotated[int, typer.Option(min=0, help="Processes that read images.", rich_help_panel=_RUN)] = 0,
    read_timeout: Annotated[
        float, typer.Option(min=0.0, help="Seconds to wait for a batch of these; 0 for ever.", rich_help_panel=_RUN)
    ] = 0.0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; else cuda if any.", rich_help_panel=_RUN)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the last epoch's record.", rich_help_panel=_RUN)] = False,
    selector: Annotated[
        str | None, typer.Option(help="Method; full, or none named: the whole pool.", rich_help_panel=_CORESET)
    ] = None,
    fraction: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Share of the pool.", rich_help_panel=_CORESET)
    ] = None,
    warmup: Annotated[
        int | None, typer.Option(min=0, help="Epochs on all of it first.", rich_help_panel=_CORESET)
    ] = None,
    every: Annotated[
        int | None, typer.Option(min=1, help="Epochs between selections.", rich_help_panel=_CORESET)
    ] = None,
    validation: Annotated[
        float | None, typer.Option(min=0.0, help="Held out for RD: share or count.", rich_help_panel=_CORESET)
    ] = None,
    eta: Annotated[
        float | None, typer.Option(min=0.0, help="Scratch step of rcs, else 0.01.", rich_help_panel=_CORESET)
    ] = None,
    select_attack_steps: Annotated[
        int | None,
        typer.Option(min=0, help="Attack of captured gradients; else training's.", rich_help_panel=_CORESET),
    ] = None,
    capture: Annotated[
        str | None, typer.Option(help="Its gradients: of the head, or of all, sketched.", rich_help_panel=_CORESET)
    ] = None,
    rd_steps: Annotated[
        int | None, typer.Option(min=1, help="Validation attack's steps, else 3.", rich_help_panel=_CORESET)
    ] = None,
    select_batch_size: Annotated[
        int | None, typer.Option(min=1, help="Of its passes; else 256, or 64 on a CPU.", rich_help_panel=_CORESET)
    ] = None,
    radius: Annotated[float | None, typer.Option(min=0.0, help="Pixels in [0, 1].", rich_help_panel=_ATTACK)] = None,
    step: Annotated[
        float | None, typer.Option(min=0.0, help="Else as published, scaled with --radius.", rich_help_panel=_ATTACK)
    ] = None,
    attack_steps: Annotated[int | None, typer.Option(min=0, rich_help_panel=_ATTACK)] = None,
    beta: Annotated[float | None, typer.Option(min=0.0, help="Of TRADES.", rich_help_panel=_ATTACK)] = None,
    optimiser: Annotated[str | None, typer.Option(help="sgd or lars.", rich_help_panel=_OPTIMISER)] = None,
    lr: Annotated[float | None, typer.Option(min=0.0, help="At its peak.", rich_help_panel=_OPTIMISER)] = None,
    weight_decay: Annotated[float | None, typer.Option(min=0.0, rich_help_panel=_OPTIMISER)] = None,
    momentum: Annotated[float | None, typer.Option(min=0.0, max=1.0, rich_help_panel=_OPTIMISER)] = None,
    curve: Annotated[
        str | None, typer.Option(help="cosine, triangle, stairs or constant.", rich_help_panel=_OPTIMISER)
    ] = None,
    lr_warmup: Annotated[
        int | None, typer.Option(min=0, help="Epochs of rise, for cosine.", rich_help_panel=_OPTIMISER)
    ] = None,
    milestones: Annotated[
        str | None, typer.Option(help="For stairs: a tenth from 75,90 on.", rich_help_panel=_OPTIMISER)
    ] = None,
    projection: Annotated[
        int | None, typer.Option(help="Layers of the projection head, 2 or 3.", rich_help_panel=_CONTRASTIVE)
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Of NT-Xent.", rich_help_panel=_CONTRASTIVE)] = None,
    interval: Annotated[
        int | None, typer.Option(min=1, help="DynACL: epochs between strengths.", rich_help_panel=_CONTRASTIVE)
    ] = None,
    rate: Annotated[float | None, typer.Option(help="DynACL: λ of its weight.", rich_help_panel=_CONTRASTIVE)] = None,
    key_momentum: Annotated[
        float | None, typer.Option(help="DynACL: of a key encoder; 0 for none.", rich_help_panel=_CONTRASTIVE)
    ] = None,
    sir: Annotated[float | None, typer.Option(min=0.0, help="AIR: λ₁.", rich_help_panel=_CONTRASTIVE)] = None,
    air: Annotated[float | None, typer.Option(min=0.0, help="AIR: λ₂.", rich_help_panel=_CONTRASTIVE)] = None,
    form: Annotated[str | None, typer.Option(help="AIR: kl or published.", rich_help_panel=_CONTRASTIVE)] = None,
) -> None:
    """Train a network by one of the papers' systems, on everything or on a coreset, and keep it in a folder.

    What is not given comes from --preset, else from the system's published settings. Killed, the same command goes on
    from its last epoch. The folder holds log.jsonl, last.pt, coreset.npz and, at the end, model.pt, for `coreselect
    finetune` and `coreselect evaluate`.
    """
    given: dict[str, Any] = {k: v for k, v in locals().items() if k in OPTIONS and v is not None}
    where = device_on(device)
    settings = _settings(given, preset_)
    method = _selector(selector, settings)
    _check(settings, method, given, named=selector is not None)
    settings = settings if method is None else _own(selector or "", method, settings, given)
    check_folder(out)
    dataset = load(data, "train", rows)
    pool, held = held_out(dataset, settings.validation, settings.seed)
    talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    talk.print(f"{settings.system}, {settings.arch} on {data}: {some(len(pool), 'image')}, {len(held):,} more held out")
    plan = (
        "all of them"
        if method is None
        else f"{settings.fraction:.3g} by {selector} from epoch {settings.warmup + 1} on"
    )
    talk.print(f"{some(settings.epochs, 'epoch')} on {where}, {plan}, in {out}")
    for words in _notes(settings):
        talk.print(words, style="yellow")
    with Live(settings.epochs) as live:
        result = pretrain(
            settings, pool, held, out, selector=method, num_workers=num_workers, timeout=read_timeout, device=where,
            progress=live, ended=live.ended,
            select_batch_size=select_batch_size or (64 if where.type == "cpu" else 256),
        )  # fmt: skip
    if json:
        about = {"data": data, "rows": rows, "selector": selector or "full", "settings": asdict(settings)}
        typer.echo(json_.dumps({"out": str(out), **about, "trained": live.count, "last": result.records[-1]}))
    else:
        Console(highlight=False, markup=False, soft_wrap=True).print(_sum(result, live.count, method is not None, out))


def _settings(given: dict[str, Any], name: str | None) -> Settings:
    """Put together what was given, a preset and the system's defaults, in this order."""
    if name is None and "system" not in given:
        raise typer.BadParameter(f"name a system ({', '.join(SYSTEMS)}), or a --preset such as cifar10-acl.")
    base = preset(name) if name is not None else defaults(given["system"])
    if given.get("system", base.system) != base.system:
        raise typer.BadParameter(f"the preset {name} is of {base.system}, not of {given['system']}.")
    own = {k: v for k, v in given.items() if k in NAMES}
    if "milestones" in own:
        own["milestones"] = _numbers(own["milestones"])
    if "radius" in own and "step" not in own:
        own["step"] = base.step * own["radius"] / base.radius or 1.0  # a radius of 0 is refused below
    return replace(base.over(own.get("epochs", base.epochs)), **own)


def _numbers(text: str) -> tuple[int, ...]:
    """Read `75,90`."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as why:
        raise typer.BadParameter(f"--milestones are epochs with commas, such as 75,90, got {text!r}.") from why


def _selector(name: str | None, settings: Settings) -> Selector | None:
    """Make the method that is named, None for the whole pool."""
    if name is None or name == "full":
        return None
    return selector_for(name, settings)


def _own(words: str, method: Selector, settings: Settings, given: Collection[str]) -> Settings:
    """Return the settings of the run that a method serves; an option that it overrides is refused."""
    run = settings_for(words, settings)
    lost = [name for name in RUN if name in given and getattr(run, name) != getattr(settings, name)]
    if "eta" in given and selector_for(words, replace(settings, eta=settings.eta / 2)) == method:
        lost.append("eta")
    if lost:
        raise typer.BadParameter(f"{options(lost)} would be without effect here: {words} says it itself.")
    return run


def _check(settings: Settings, method: Selector | None, given: Collection[str], *, named: bool) -> None:
    """Refuse a command line that would not do what it says."""
    idling, chosen, held = idle(given, settings, method, named=named), method is not None, settings.validation
    for wrong, why in (
        (idling, idling),
        (held > 1 and held != int(held), "--validation is a share below 1, or a whole number of images."),
        (chosen and not settings.fraction, "--fraction is a share of the pool above 0."),
        (
            chosen and settings.warmup >= settings.epochs,
            f"nothing would be chosen: --warmup is {settings.warmup} of {some(settings.epochs, 'epoch')} in all, make it "
            "smaller or --epochs larger.",
        ),
        (not settings.radius, "--radius 0 leaves attacks no room: the systems without one are standard and cl."),
    ):
        if wrong:
            raise typer.BadParameter(str(why))


def _notes(settings: Settings) -> Iterator[str]:
    """Say where settings that were published for long runs miss the point of this one."""
    attack, system = settings.attack, SYSTEMS[settings.system]
    if settings.curve == "cosine" and settings.lr_warmup >= settings.epochs:
        yield f"the rate rises for {settings.lr_warmup} epochs and so never reaches --lr: lower --lr-warmup."
    if system.dynamic and settings.interval >= settings.epochs:
        yield f"the views never weaken, as {settings.interval} epochs pass between strengths: lower --interval."
    if attack is not None and attack.steps * attack.step < 0.999 * attack.radius:
        yield f"the attack walks {attack.steps * attack.step:.3g} in all, less than its radius {attack.radius:.3g}: raise --step."


def _sum(result: Pretrained, trained: int, chose: bool, out: Path) -> str:
    """Say what was done, where the time went and where it lies."""
    training, selecting = (sum(r[part] for r in result.records) for part in ("seconds", "select_seconds"))
    epochs = some(len(result.records), "epoch")
    said = f"{epochs} took {duration(training)}"
    if trained < len(result.records):
        said = (
            f"nothing was left to train: {said}"
            if not trained
            else f"went on after {len(result.records) - trained}: {said}"
        )
    if chose:
        said += f", selecting {duration(selecting)}; {result.records[-1]['seen']:.0%} of the pool was seen"
    return f"{said}\n{out / MODEL} and {out / LOG} hold the network and the log"

"""`coreselect train`: pre-train with any of the papers' systems, with a selector plugged in or without."""

import json as json_
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from coreselect import Selector, get_selector, holdout
from coreselect.attacks import PGD
from coreselect.data import load
from coreselect.objectives import RD
from coreselect_integrations.cli.live import Live, duration
from coreselect_integrations.pretraining import MODEL, Pretrained, pretrain
from coreselect_integrations.runs import LOG
from coreselect_integrations.systems import NAMES, PRESETS, SYSTEMS, Settings, defaults, preset

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
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16.", rich_help_panel=_RUN)] = None,
    num_workers: Annotated[int, typer.Option(min=0, help="Processes that read images.", rich_help_panel=_RUN)] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; else cuda if any.", rich_help_panel=_RUN)] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the last epoch's record.", rich_help_panel=_RUN)] = False,
    selector: Annotated[
        str, typer.Option(help="Method, or full for the whole pool.", rich_help_panel=_CORESET)
    ] = "full",
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
    eta: Annotated[float, typer.Option(min=0.0, help="Scratch step of rcs.", rich_help_panel=_CORESET)] = 0.01,
    select_attack_steps: Annotated[
        int | None,
        typer.Option(min=0, help="Attack of captured gradients; else training's.", rich_help_panel=_CORESET),
    ] = None,
    rd_steps: Annotated[int, typer.Option(min=1, help="Validation attack's steps.", rich_help_panel=_CORESET)] = 3,
    select_batch_size: Annotated[
        int | None, typer.Option(min=1, help="Of its passes; else 256, or 64 on a CPU.", rich_help_panel=_CORESET)
    ] = None,
    radius: Annotated[float | None, typer.Option(min=0.0, help="Pixels in [0, 1].", rich_help_panel=_ATTACK)] = None,
    step: Annotated[float | None, typer.Option(min=0.0, help="Size of a step.", rich_help_panel=_ATTACK)] = None,
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
    given: dict[str, Any] = {k: v for k, v in locals().items() if k in NAMES and v is not None}
    settings = _settings(given, preset_)
    method = _selector(selector, settings.radius, eta, rd_steps)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dataset = load(data, "train", rows)
    held = settings.validation
    pool, held_out = holdout(dataset, int(held) if held >= 1 else held, settings.seed)
    chosen = "all of it" if method is None else f"{settings.fraction:g} by {selector} from epoch {settings.warmup + 1}"
    talk = Console(stderr=True, highlight=False)
    talk.print(
        f"{settings.system}, {settings.arch} on {data}: {len(pool):,} images ({len(held_out):,} held out), {chosen}; "
        f"{settings.epochs} epochs on {where}, in {out}"
    )
    with Live(settings.epochs) as live:
        result = pretrain(
            settings, pool, held_out, out, selector=method, num_workers=num_workers, device=where, progress=live, ended=live.ended,
            select_batch_size=select_batch_size or (64 if where.type == "cpu" else 256),
        )  # fmt: skip
    if json:
        typer.echo(json_.dumps({"out": str(out), "settings": asdict(settings), "last": result.records[-1]}))
    else:
        Console(highlight=False).print(_sum(result, out), soft_wrap=True)


def _settings(given: dict[str, Any], name: str | None) -> Settings:
    """Put together what was given, a preset and the system's defaults, in this order."""
    if name is None and "system" not in given:
        raise typer.BadParameter(f"name a system ({', '.join(SYSTEMS)}), or a --preset ({', '.join(PRESETS)}).")
    base = preset(name) if name is not None else defaults(given["system"])
    if given.get("system", base.system) != base.system:
        raise typer.BadParameter(f"the preset {name} is of {base.system}, not of {given['system']}.")
    return replace(base, **given)


def _selector(name: str, radius: float, eta: float, rd_steps: int) -> Selector | None:
    """Make the method; the attack of an RD takes steps of 1¼ radii in all."""
    if name == "full":
        return None
    rd = RD("kl", attack=PGD(radius, 1.25 * radius / rd_steps or 1.0, rd_steps))
    own: dict[str, dict[str, Any]] = {"rcs": {"objective": rd, "eta": eta}, "rcs_sampled": {"objective": rd}}
    return get_selector(name, **own.get(name, {}))


def _sum(result: Pretrained, out: Path) -> str:
    """Say what was done, where the time went and where it lies."""
    training, selecting = (sum(r[part] for r in result.records) for part in ("seconds", "select_seconds"))
    last = result.records[-1]
    return (
        f"trained {len(result.records)} epochs in {duration(training)}, selecting took {duration(selecting)}; "
        f"{last['seen']:.0%} of the pool was seen\nwrote {out / MODEL} and {out / LOG}"
    )

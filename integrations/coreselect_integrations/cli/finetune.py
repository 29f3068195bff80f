"""`coreselect finetune`: from a pre-trained extractor to a classifier, or by pseudo-labels to a better extractor."""

from __future__ import annotations

import json as json_
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from coreselect.attacks import PGD
from coreselect.data import load
from coreselect_integrations.augment import crop_flip
from coreselect_integrations.cli.live import Live, duration
from coreselect_integrations.epochs import Ended
from coreselect_integrations.finetuning import MODES, Finetuned
from coreselect_integrations.finetuning import finetune as finetune_by
from coreselect_integrations.finetuning.autolora import autolora
from coreselect_integrations.finetuning.pseudo_labels import FULL, PROBE, PostTrained, post_train
from coreselect_integrations.networks import Saved, load_network, save_network
from coreselect_integrations.pretraining import HALF, MODEL
from coreselect_integrations.runs import LOG
from coreselect_integrations.systems import PRECISIONS
from coreselect_integrations.warmup import count_classes

ALL = (*MODES, "autolora", "lpaft")


def finetune(
    mode: Annotated[str, typer.Argument(help=f"{', '.join(ALL)}.")],
    from_: Annotated[Path, typer.Option("--from", help="model.pt of `coreselect train`, or of `finetune lpaft`.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; a run that is there goes on.")],
    data: Annotated[str, typer.Option(help="As `coreselect train --data`; its training images are used.")] = "digits",
    rows: Annotated[int | None, typer.Option(min=2, help="Only the first so many images.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Else the published number.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Else the published one.")] = None,
    lr: Annotated[float | None, typer.Option(min=0.0, help="Else the published one; not for lpaft.")] = None,
    radius: Annotated[float, typer.Option(min=0.0, help="Of the attack, pixels in [0, 1].")] = 8 / 255,
    attack_steps: Annotated[int | None, typer.Option(min=1, help="Else 10, of a quarter of the radius.")] = None,
    clusters: Annotated[int | None, typer.Option(min=2, help="lpaft: how many pseudo-classes, else 10.")] = None,
    dual_bn: Annotated[bool, typer.Option("--dual-bn", help="lpaft: keep two routes, for aff.")] = False,
    rank: Annotated[int | None, typer.Option(min=1, help="autolora: of the branch, else 8.")] = None,
    flip: Annotated[bool | None, typer.Option(help="Mirror images; else those of more than one channel.")] = None,
    precision: Annotated[str, typer.Option(help="fp32 or bf16.")] = "fp32",
    seed: Annotated[int, typer.Option(help="Decides every draw.")] = 0,
    num_workers: Annotated[int, typer.Option(min=0, help="Processes that read images.")] = 0,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; else cuda where there is one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was loaded and how it went.")] = False,
) -> None:
    """Fine-tune a pre-trained network on labelled data, and keep the result in a folder.

    slf and alf train a linear head on the frozen extractor, on natural and on attacked images; sff and aff train all of
    it; autolora adds a low-rank branch for natural images. lpaft, the ++ of DynACL++, trains on the clusters of the
    extractor's own features and gives an extractor again. Killed, the same command goes on from its last epoch.
    """
    if mode not in ALL:
        raise typer.BadParameter(f"no way of fine-tuning is called {mode!r}; there are {', '.join(ALL)}.")
    if precision not in PRECISIONS:
        raise typer.BadParameter(f"--precision is one of {', '.join(PRECISIONS)}, got {precision!r}.")
    own = {"lpaft": {"--clusters": clusters, "--dual-bn": dual_bn}, "autolora": {"--rank": rank}}
    foreign = [name for other, options in own.items() if other != mode for name, value in options.items() if value]
    if mode == "lpaft" and lr is not None:
        foreign.append("--lr")  # a head and then everything are trained, each at its published rate
    if foreign:
        raise typer.BadParameter(f"{mode} does not take {', '.join(foreign)}.")
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    saved, dataset = load_network(from_), load(data, "train", rows)
    steps = attack_steps or 10
    attack = (
        PGD(radius, radius / 4 if attack_steps is None else 2.5 * radius / steps, steps) if radius else PGD(0.0, 1.0, 0)
    )
    mirror = saved.spec.channels > 1 if flip is None else flip
    settings: dict[str, Any] = {
        "seed": seed, "batch_size": batch_size, "augment": partial(crop_flip, pad=saved.spec.size // 8, flip=mirror),
        "num_workers": num_workers, "precision": HALF[precision], "device": where, "folder": out,
        "about": {"data": data, "rows": rows, "attack": asdict(attack), "flip": mirror, "precision": precision},
    }  # fmt: skip
    length = _length(mode, epochs)
    Console(stderr=True, highlight=False).print(
        f"{mode} of {from_} ({saved.spec.arch}) on {data}: {len(dataset):,} images, {length} epochs on {where}, in {out}"
    )
    with Live(length) as live:
        settings |= {"progress": live, "ended": live.ended}
        record = _tune(mode, saved, dataset, attack, epochs, lr, rank or 8, clusters or 10, dual_bn, settings)
    about = {"mode": mode, "epochs": length, "seed": seed, **settings["about"], "from": dict(saved.about)}
    save_network(out / MODEL, record.network, record.spec, about)
    loaded = record.transfer
    said = {
        "out": str(out), "mode": mode, "loaded": len(loaded.loaded), "fresh": len(loaded.fresh), "seconds": record.seconds,
    }  # fmt: skip
    if json:
        typer.echo(json_.dumps(said))
        return
    Console(highlight=False).print(
        f"took {said['loaded']} tensors from {from_}, {said['fresh']} began anew; {duration(record.seconds)}\n"
        f"wrote {out / MODEL} and {out / LOG if mode != 'lpaft' else out / 'full' / LOG}",
        soft_wrap=True,
    )


def _length(mode: str, epochs: int | None) -> int:
    """How many epochs a fine-tuning has in all."""
    if mode == "lpaft":
        return sum(_two(epochs))
    return epochs or (MODES[mode].epochs if mode in MODES else 50)


def _two(epochs: int | None) -> tuple[int, int]:
    """Divide epochs between the two trainings of lpaft, as 10 and 25 are."""
    if epochs is None:
        return PROBE.epochs, FULL.epochs
    probe = max(1, round(epochs * PROBE.epochs / (PROBE.epochs + FULL.epochs)))
    return probe, max(1, epochs - probe)


def _tune(
    mode: str, saved: Saved, dataset: Any, attack: PGD, epochs: int | None, lr: float | None, rank: int, clusters: int,
    dual_bn: bool, settings: dict[str, Any],
) -> Finetuned | PostTrained:  # fmt: skip
    """Call what the mode names."""
    start = (saved.weights, saved.spec, dataset)
    if mode == "lpaft":
        probe, full = _two(epochs)
        numbered = {**settings, "attack": attack, "ended": _through(settings["ended"], probe)}
        return post_train(*start, clusters=clusters, dual_bn=dual_bn, epochs=(probe, full), **numbered)
    classes = count_classes(dataset)
    if mode == "autolora":
        given = {"epochs": _length(mode, epochs), "batch_size": settings["batch_size"] or 128}
        return autolora(*start, classes=classes, attack=attack, rank=rank, lr=lr or 0.1, **{**settings, **given})
    how = MODES[mode] if MODES[mode].attack is None else replace(MODES[mode], attack=attack)
    return finetune_by(how, *start, classes=classes, epochs=epochs, lr=lr, **settings)


def _through(ended: Ended, first: int) -> Ended:
    """Count the epochs of two trainings through: the second's follow the `first` epochs of the first."""
    done = iter(range(first))

    def told(record: Mapping[str, Any]) -> None:
        ended({**record, "epoch": next(done, first + record["epoch"])})

    return told

"""`coreselect finetune`: from a pre-trained extractor to a classifier, or by pseudo-labels to a better extractor."""

from __future__ import annotations

import json as json_
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from coreselect.attacks import PGD
from coreselect.data import load, names_of
from coreselect.errors import BudgetError, RequirementError
from coreselect_integrations.cli.early import check_folder, check_images, classes_in, device_on, network_at
from coreselect_integrations.cli.live import Live, duration, some
from coreselect_integrations.finetuning import MODES, Finetuned
from coreselect_integrations.finetuning import finetune as finetune_by
from coreselect_integrations.finetuning.autolora import autolora
from coreselect_integrations.finetuning.pseudo_labels import FULL, PROBE, PostTrained, post_train
from coreselect_integrations.networks import Saved, save_network
from coreselect_integrations.pretraining.run import MODEL
from coreselect_integrations.pretraining.settings import HALF, PRECISIONS
from coreselect_integrations.systems.augment import crop_flip
from coreselect_integrations.training.runs import CHECKPOINT, LOG

ALL = (*MODES, "autolora", "lpaft")
FIRST, LAST = "probe", "full"  # where `post_train` keeps its two trainings


def finetune(
    mode: Annotated[str, typer.Argument(help=f"{', '.join(ALL)}.")],
    from_: Annotated[Path, typer.Option("--from", help="model.pt of `coreselect train`, or of `finetune lpaft`.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; a run that is there goes on.")],
    data: Annotated[str, typer.Option(help="As `coreselect train --data`; its training images are used.")] = "digits",
    rows: Annotated[int | None, typer.Option(min=2, help="Only the first so many images.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Else the published number.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="Else the published one.")] = None,
    lr: Annotated[float | None, typer.Option(min=0.0, help="Else the published one; not for lpaft.")] = None,
    radius: Annotated[float | None, typer.Option(min=0.0, help="Of the attack, pixels in [0, 1]; else 8/255.")] = None,
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
    attacked = mode not in MODES or MODES[mode].attack is not None
    own = (
        ("lpaft", mode == "lpaft", {"--clusters": clusters, "--dual-bn": dual_bn or None}),
        ("autolora", mode == "autolora", {"--rank": rank}),
        ("alf, aff, autolora and lpaft", attacked, {"--radius": radius, "--attack-steps": attack_steps}),
        ("modes of one training", mode != "lpaft", {"--lr": lr}),
    )
    for owners, mine, options in own:
        lost = [name for name, value in options.items() if value is not None]
        if lost and not mine:
            raise typer.BadParameter(f"{', '.join(lost)} would be without effect on {mode}: it is for {owners}.")
    for wrong, why in (
        (lr == 0, "--lr is above 0."),
        (radius == 0, "--radius 0 leaves the attack no room: take slf or sff, which have none."),
        (mode == "lpaft" and epochs == 1, "lpaft trains twice: --epochs is 2 or more."),
    ):
        if wrong:
            raise typer.BadParameter(why)
    where = device_on(device)
    check_folder(out)
    _check_kind(mode, out)
    saved, dataset = network_at(from_), load(data, "train", rows)
    check_images(dataset, saved.spec, data)
    ball, steps = radius or 8 / 255, attack_steps or 10
    attack = PGD(ball, ball / 4 if attack_steps is None else 2.5 * ball / steps, steps)
    mirror = saved.spec.channels > 1 if flip is None else flip
    settings: dict[str, Any] = {
        "seed": seed, "batch_size": batch_size, "augment": partial(crop_flip, pad=saved.spec.size // 8, flip=mirror),
        "num_workers": num_workers, "precision": HALF[precision], "device": where, "folder": out,
        "about": {"flip": mirror},
    }  # fmt: skip
    classes = 0 if mode == "lpaft" else classes_in(dataset, data, f"fine-tuning by {mode}")
    length = _length(mode, epochs)
    talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    talk.print(f"{mode} of {from_} ({saved.spec.arch}) on {data}: {some(len(dataset), 'image')}")
    talk.print(f"{some(length, 'epoch')} on {where}, in {out}")
    with Live(length) as live:
        settings |= {"progress": live, "ended": live.ended}
        record = _tune(mode, saved, dataset, classes, attack, epochs, lr, rank or 8, clusters or 10, dual_bn, settings)
    about = {
        "mode": mode, "data": data, "rows": rows, "epochs": length, "seed": seed, "attack": asdict(attack), "flip": mirror,
        "precision": precision, "from": dict(saved.about),
    }  # fmt: skip
    save_network(out / MODEL, record.network, record.spec, about, names_of(dataset) if classes else None)
    log = (*record.probe, *record.full) if isinstance(record, PostTrained) else record.log
    loaded = record.transfer
    if json:
        went = {"epochs": len(log), "trained": live.count, "loss": log[-1].loss, "accuracy": log[-1].accuracy}
        counts = {"loaded": len(loaded.loaded), "fresh": len(loaded.fresh), "left_out": len(loaded.left_out)}
        typer.echo(json_.dumps({"out": str(out), "mode": mode, **counts, **went, "seconds": record.seconds}))
        return
    said = f"{some(len(loaded.loaded), 'tensor')} came from {from_}, {len(loaded.fresh)} began anew\n"
    said += f"{some(len(log), 'epoch')} took {duration(sum(epoch.seconds for epoch in log))}"
    if live.count < len(log):
        said += f", {len(log) - live.count} of them before" if live.count else ": nothing was left to train"
    written = out / LOG if mode != "lpaft" else out / LAST / LOG
    said += f"\n{out / MODEL} and {written} hold the network and the log"
    Console(highlight=False, markup=False, soft_wrap=True).print(said)


def _check_kind(mode: str, out: Path) -> None:
    """Refuse a folder whose model.pt another kind of run has written: lpaft keeps its runs in folders below it."""
    other = out / CHECKPOINT if mode == "lpaft" else out / FIRST / CHECKPOINT
    if other.exists():
        why = f"{out} holds a run of another kind ({other}), {mode} would write over its network: give another folder."
        raise RequirementError(why)


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
    mode: str, saved: Saved, dataset: Any, classes: int, attack: PGD, epochs: int | None, lr: float | None, rank: int,
    clusters: int, dual_bn: bool, settings: dict[str, Any],
) -> Finetuned | PostTrained:  # fmt: skip
    """Call what the mode names."""
    start = (saved.weights, saved.spec, dataset)
    if mode == "lpaft":
        probe, full = _two(epochs)
        return post_train(*start, clusters=clusters, dual_bn=dual_bn, epochs=(probe, full), attack=attack, **settings)
    if mode == "autolora":
        n, share = settings["batch_size"] or 128, {"epochs": _length(mode, epochs), "lr": lr or 0.1, "rank": rank}
        judge = replace(attack, step=attack.radius / 4, steps=20)
        try:
            return autolora(
                *start, classes=classes, attack=attack, judged_by=judge, **{**settings, **share, "batch_size": n}
            )
        except BudgetError as error:
            why = f"autolora holds out a twentieth of its images to judge itself by: {len(dataset)} are too few, 20 will do."
            raise BudgetError(why) from error
    how = MODES[mode] if MODES[mode].attack is None else replace(MODES[mode], attack=attack)
    return finetune_by(how, *start, classes=classes, epochs=epochs, lr=lr, **settings)

"""`coreselect evaluate`: how right a trained network is, attacked, corrupted, or by its nearest neighbours."""

from __future__ import annotations

import json as json_
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from coreselect.attacks import PGD
from coreselect.cli.progress import progress
from coreselect.data import load
from coreselect.protocols import Progress
from coreselect_integrations.evaluation import evaluate as attacked
from coreselect_integrations.evaluation.autoattack import autoattack
from coreselect_integrations.evaluation.corruptions import evaluate_corruptions
from coreselect_integrations.evaluation.neighbours import neighbours
from coreselect_integrations.networks import RoutedNetwork, load_network, restore, route_call

ATTACKS = ("none", "pgd20", "autoattack")


def evaluate(
    from_: Annotated[Path, typer.Option("--from", help="model.pt of `coreselect train` or `coreselect finetune`.")],
    data: Annotated[str, typer.Option(help="As `coreselect train --data`; its test images are used.")] = "digits",
    attacks: Annotated[str, typer.Option(help="Of pgd20 and autoattack, with commas; none for neither.")] = "pgd20",
    corruptions: Annotated[
        Path | None, typer.Option(help="Folder in CIFAR-10-C's format, read at severities 1 to 5.")
    ] = None,
    k: Annotated[int, typer.Option("--neighbours", min=0, help="Also k-NN of the representation; 200 is usual.")] = 0,
    rows: Annotated[int | None, typer.Option(min=1, help="Only the first so many test images.")] = None,
    train_rows: Annotated[int | None, typer.Option(min=1, help="Only so many training images for k-NN.")] = None,
    radius: Annotated[float, typer.Option(min=0.0, help="Of attacks, pixels in [0, 1].")] = 8 / 255,
    batch_size: Annotated[int, typer.Option(min=1)] = 128,
    seed: Annotated[int, typer.Option(help="Of random starts.")] = 0,
    num_threads: Annotated[int | None, typer.Option(min=1, help="Threads of a CPU; else torch's own number.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; else cuda where there is one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure a trained network on test images: standard accuracy, and robust accuracy under each attack.

    PGD-20 takes 20 steps of a quarter of the radius; a point counts as robust only if no iterate fools it. AutoAttack
    is the standard version. A pre-trained extractor without classifier has k-NN accuracy alone: fine-tune it first for
    the rest.
    """
    names = [name.strip() for name in attacks.split(",") if name.strip()]
    unknown = [name for name in names if name not in ATTACKS]
    if unknown or not names:
        raise typer.BadParameter(f"--attacks names some of {', '.join(ATTACKS)}, got {attacks!r}.")
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    saved = load_network(from_)
    network = restore(saved).to(where).eval()
    if saved.spec.classes is None and not k:
        raise typer.BadParameter(
            f"{from_} has a projection head and no classifier: give --neighbours, or fine-tune it."
        )
    test = load(data, "test", rows)
    result: dict[str, Any] = {"from": str(from_), "data": data, "n": len(test), "radius": radius}
    common: dict[str, Any] = {"batch_size": batch_size, "device": where}
    with progress() as report:
        if saved.spec.classes is not None:
            routed = {**common, "call": route_call, "progress": report}
            result |= _accuracies(network, test, names, radius, seed, routed)
            if corruptions is not None:
                result["corruptions"] = asdict(evaluate_corruptions(network, corruptions, rows=rows, **routed))
        if k:
            result["neighbours"] = _neighbours(network, load(data, "train", train_rows), test, k, report, common)
    if json:
        typer.echo(json_.dumps(result, indent=2))
    else:
        Console(highlight=False).print(*_tables(result), sep="\n")


def _accuracies(
    network: RoutedNetwork, test: Any, names: list[str], radius: float, seed: int, common: Mapping[str, Any]
) -> dict[str, Any]:
    """Standard accuracy, and the record of every attack by its name."""
    out: dict[str, Any] = {}
    for name in names:
        if name == "autoattack":
            record = autoattack(network, test, radius=radius, seed=seed, **common)
        else:
            pgd = PGD(radius, radius / 4 or 1.0, 20 if name == "pgd20" else 0, random_start=name == "pgd20")
            record = attacked(network, test, attack=pgd, seed=seed, **common)
        out["standard"] = record.standard
        if name != "none":
            out[name] = asdict(record)
    return out


def _neighbours(
    network: RoutedNetwork, train: Any, test: Any, k: int, report: Progress, common: Mapping[str, Any]
) -> dict[str, Any]:
    """k-NN accuracy of what the head reads; with two routes, of the adversarial one, which fine-tuning takes too."""
    represent = partial(network.represent, route="adversarial")
    return asdict(neighbours(represent, train, test, k=k, model=network, progress=report, **common))


def _tables(result: Mapping[str, Any]) -> list[Table]:
    """Lay out a result: one line a measure, then one a corruption."""
    table = Table(title=f"{result['from']} on {result['n']:,} test images", box=box.SIMPLE_HEAD, title_justify="left")
    for column in ("", "accuracy %", "seconds"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    if "standard" in result:
        table.add_row("standard", f"{result['standard']:.2%}"[:-1], "")
    for name in ATTACKS[1:]:
        if name in result:
            table.add_row(
                f"{name}, l∞ {result['radius']:.4g}",
                f"{result[name]['robust']:.2%}"[:-1],
                f"{result[name]['seconds']:.0f}",
            )
    for name, left in result.get("autoattack", {}).get("after", {}).items():
        table.add_row(f"  after {name}", f"{left:.2%}"[:-1], "", style="dim")
    if "neighbours" in result:
        found = result["neighbours"]
        table.add_row(
            f"{found['k']}-NN of {found['n_train']:,}", f"{found['accuracy']:.2%}"[:-1], f"{found['seconds']:.0f}"
        )
    if "corruptions" not in result:
        return [table]
    found = result["corruptions"]
    table.add_row("corruptions, mean", f"{found['mean']:.2%}"[:-1], f"{found['seconds']:.0f}")
    severities = list(next(iter(found["accuracy"].values())))
    each = Table(title="by corruption and severity, %", box=box.SIMPLE_HEAD, title_justify="left")
    each.add_column("", no_wrap=True)
    for column in (*map(str, severities), "mean"):
        each.add_column(column, justify="right", no_wrap=True)
    for name, shares in found["accuracy"].items():
        cells = [*shares.values(), found["by_corruption"][name]]
        each.add_row(name.replace("_", " "), *(f"{100 * share:.1f}" for share in cells))
    return [table, each]

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
from coreselect.data import labels_of, load
from coreselect.data.labels import one_based
from coreselect.errors import DataError, RequirementError
from coreselect.protocols import Progress
from coreselect_integrations.cli.early import check_images, classes_in, device_on, network_at
from coreselect_integrations.cli.live import some
from coreselect_integrations.evaluation import evaluate as attacked
from coreselect_integrations.evaluation.autoattack import autoattack
from coreselect_integrations.evaluation.corruptions import CORRUPTIONS, corrupted, evaluate_corruptions
from coreselect_integrations.evaluation.neighbours import neighbours
from coreselect_integrations.evaluation.severities import SEVERITIES
from coreselect_integrations.networks import RoutedNetwork, Spec, restore, route_call
from coreselect_integrations.networks.class_names import check_class_names

ATTACKS = ("none", "pgd20", "autoattack")


def evaluate(
    from_: Annotated[Path, typer.Option("--from", help="model.pt of `coreselect train` or `coreselect finetune`.")],
    data: Annotated[str, typer.Option(help="As `coreselect train --data`; its test images are used.")] = "digits",
    attacks: Annotated[
        str | None, typer.Option(help="pgd20, autoattack, both with a comma, or none; else pgd20.")
    ] = None,
    corruptions: Annotated[
        Path | None, typer.Option(help="Folder in CIFAR-10-C's format, read at severities 1 to 5.")
    ] = None,
    severities: Annotated[
        str | None, typer.Option(help="Only these severities, such as 1,3; also for files that hold no others.")
    ] = None,
    k: Annotated[
        int | None, typer.Option("--neighbours", min=1, help="Also k-NN of the representation; 200 is usual.")
    ] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="Only the first so many test images.")] = None,
    train_rows: Annotated[int | None, typer.Option(min=1, help="Only so many training images for k-NN.")] = None,
    radius: Annotated[float | None, typer.Option(min=0.0, help="Of attacks, pixels in [0, 1]; else 8/255.")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 128,
    seed: Annotated[int | None, typer.Option(help="Of random starts, else 0.")] = None,
    num_threads: Annotated[int | None, typer.Option(min=1, help="Threads of a CPU; else torch's own number.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, …; else cuda where there is one.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measure a trained network on test images: standard accuracy, and robust accuracy under each attack.

    PGD-20 takes 20 steps of a quarter of the radius; a point counts as robust only if no iterate fools it. AutoAttack
    is the standard version. A pre-trained extractor without classifier has k-NN accuracy alone: fine-tune it first for
    the rest.
    """
    names = tuple(dict.fromkeys(name.strip() for name in (attacks or "pgd20").split(",") if name.strip()))
    if not names or not set(names) <= {*ATTACKS} or ("none" in names and len(names) > 1):
        raise typer.BadParameter(f"--attacks is pgd20, autoattack, both with a comma, or none, got {attacks!r}.")
    if k is None and train_rows is not None:
        raise typer.BadParameter("--train-rows would be without effect: it is for --neighbours.")
    if names == ("none",) and (radius is not None or seed is not None):
        raise typer.BadParameter("--radius and --seed would be without effect: they are for attacks.")
    if radius == 0:
        raise typer.BadParameter("--radius 0 leaves attacks no room: --attacks none measures standard accuracy.")
    if severities is not None and corruptions is None:
        raise typer.BadParameter("--severities would be without effect: it is for --corruptions.")
    strengths = _severities(severities)
    where = device_on(device)
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    saved = network_at(from_)
    classes = None if saved.about.get("mode") == "lpaft" else saved.spec.classes  # of lpaft: clusters, no labels
    if classes is None:
        if k is None:
            why = f"{from_} is an extractor, no classifier of labels: give --neighbours, or fine-tune it."
            raise typer.BadParameter(why)
        if any(option is not None for option in (attacks, corruptions, radius, seed)):
            why = f"--attacks, --radius, --seed and --corruptions need a classifier, {from_} is an extractor: fine-tune it."
            raise typer.BadParameter(why)
    test = load(data, "test", rows)
    train = None if k is None else load(data, "train", train_rows)
    _check(saved.spec, classes, data, test, train, k, corruptions, strengths)
    if classes is not None:
        check_class_names(saved, test, data)
    network = restore(saved).to(where).eval()
    ball = 8 / 255 if radius is None else radius
    result: dict[str, Any] = {"from": str(from_), "data": data, "n": len(test)}
    common: dict[str, Any] = {"batch_size": batch_size, "device": where}
    with progress() as report:
        routed = {**common, "call": route_call, "progress": report}
        if k is not None:
            result["neighbours"] = _neighbours(network, train, test, k, report, common)
        if corruptions is not None:
            result["corruptions"] = asdict(
                evaluate_corruptions(network, corruptions, severities=strengths, rows=rows, **routed)
            )
        if classes is not None:
            result |= {} if names == ("none",) else {"radius": ball}
            result |= _accuracies(network, test, names, ball, seed or 0, routed)
    if json:
        typer.echo(json_.dumps(result, indent=2))
        return
    console = Console(highlight=False, markup=False)
    console.print(f"{from_} on {some(len(test), 'test image')} of {data}", soft_wrap=True)
    console.print(*_tables(result), sep="\n")


def _check(
    spec: Spec, classes: int | None, data: str, test: Any, train: Any, k: int | None, corruptions: Path | None,
    severities: tuple[int, ...],
) -> None:  # fmt: skip
    """Refuse data that do not fit the network or the question, before the first image is classified.

    Raises:
        DataError: images of another shape, no labels, or labels that the network does not know.
        RequirementError: fewer training images than neighbours.
    """
    for name, images in ((data, test), (data, train), (str(corruptions), _first(corruptions, severities))):
        if images is None:
            continue
        check_images(images, spec, name)
        found = classes_in(images, name, "an accuracy")
        if classes is not None and found > classes:
            why = (
                f"{name} has labels up to {found - 1}, the network tells 0 to {classes - 1} apart{_hint(images, classes)}: is it "
                "of other data?"
            )
            raise DataError(why)
    if k is not None and k > len(train):
        why = f"--neighbours {k} are asked of {some(len(train), 'training image')}: give no more than there are."
        raise RequirementError(why)


def _hint(images: Any, classes: int) -> str:
    """Say so if the labels look as if they began at 1."""
    labels = labels_of(images)
    return "" if labels is None else one_based(labels, classes)


def _severities(text: str | None) -> tuple[int, ...]:
    """Read `1,3`; None is all five."""
    try:
        found = SEVERITIES if text is None else tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        found = ()
    if not found or not set(found) <= set(SEVERITIES):
        raise typer.BadParameter(f"--severities are some of 1 to 5 with commas, such as 1,3, got {text!r}.")
    return found


def _first(corruptions: Path | None, severities: tuple[int, ...]) -> Any:
    """The weakest images of the first corruption in a folder; None without one, which `evaluate_corruptions` refuses."""
    names = [] if corruptions is None else [name for name in CORRUPTIONS if (corruptions / f"{name}.npy").exists()]
    return corrupted(corruptions, names[0], severities[0], severities) if corruptions is not None and names else None


def _accuracies(
    network: RoutedNetwork, test: Any, names: tuple[str, ...], radius: float, seed: int, common: Mapping[str, Any]
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
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("", "accuracy %", "seconds"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    if "standard" in result:
        table.add_row("standard", f"{result['standard']:.2%}"[:-1], "")
    for name in ATTACKS[1:]:
        if name in result:
            table.add_row(
                f"{name}, l∞ {255 * result['radius']:.4g}/255",
                f"{result[name]['robust']:.2%}"[:-1],
                f"{result[name]['seconds']:.1f}",
            )
    for name, left in result.get("autoattack", {}).get("after", {}).items():
        table.add_row(f"  after {name}", f"{left:.2%}"[:-1], "", style="dim")
    if "neighbours" in result:
        found = result["neighbours"]
        table.add_row(
            f"{found['k']}-NN of {found['n_train']:,}", f"{found['accuracy']:.2%}"[:-1], f"{found['seconds']:.1f}"
        )
    if "corruptions" not in result:
        return [table]
    found = result["corruptions"]
    table.add_row("corruptions, mean", f"{found['mean']:.2%}"[:-1], f"{found['seconds']:.1f}")
    severities = list(next(iter(found["accuracy"].values())))
    each = Table(title="by corruption and severity, %", box=box.SIMPLE_HEAD, title_justify="left")
    each.add_column("", no_wrap=True)
    for column in (*map(str, severities), "mean"):
        each.add_column(column, justify="right", no_wrap=True)
    for name, shares in found["accuracy"].items():
        cells = [*shares.values(), found["by_corruption"][name]]
        each.add_row(name.replace("_", " "), *(f"{100 * share:.1f}" for share in cells))
    return [table, each]

"""The work of `coreselect evaluate`: load the network and the images, check that they fit, measure, and print."""

import json as json_
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console

from coreselect.cli.options import DataOptions
from coreselect.cli.progress import progress
from coreselect.data import labels_of, load
from coreselect.data.labels import one_based
from coreselect.errors import DataError, RequirementError
from coreselect.protocols import Progress
from coreselect_integrations.cli.checks_before_work import classes_in, device_on, network_at
from coreselect_integrations.cli.evaluate_tables import tables
from coreselect_integrations.cli.run_progress import counted
from coreselect_integrations.evaluation.corruptions import CORRUPTIONS, corrupted, evaluate_corruptions
from coreselect_integrations.evaluation.named import accuracies
from coreselect_integrations.evaluation.neighbours import neighbours
from coreselect_integrations.networks import NetworkSpec, RoutedNetwork, Saved, classes_of, restore, route_call
from coreselect_integrations.networks.class_names import check_class_names
from coreselect_integrations.pretraining.dataset_shape import check_images


@dataclass(frozen=True)
class Request:
    """What a command line of `coreselect evaluate` asks for.

    `for_classifiers` says whether an option was given that needs a classifier.
    """

    from_: Path
    images: DataOptions
    attacks: tuple[str, ...]
    corruptions: Path | None
    severities: tuple[int, ...]
    neighbours: int | None
    train_rows: int | None
    radius: float
    batch_size: int
    seed: int
    num_threads: int | None
    device: str | None
    for_classifiers: bool


def run(request: Request, *, json: bool) -> None:
    """Measure, and print the result."""
    device = device_on(request.device)
    if request.num_threads is not None:
        torch.set_num_threads(request.num_threads)
    saved = network_at(request.from_)
    classes = _classes(request, saved)
    data, k = request.images.data, request.neighbours
    test = load(data, "test", request.images.rows)
    train = None if k is None else load(data, "train", request.train_rows)
    _check(request, saved.spec, classes, test, train)
    if classes is not None:
        check_class_names(saved, test, data)
    network = restore(saved).to(device).eval()
    result: dict[str, Any] = {"from": str(request.from_), "data": data, "n": len(test)}
    common: dict[str, Any] = {"batch_size": request.batch_size, "device": device}
    with progress() as report:
        routed = {**common, "call": route_call, "progress": report}
        if k is not None:
            result["neighbours"] = _by_neighbours(network, train, test, k, report, common)
        if request.corruptions is not None:
            found = evaluate_corruptions(
                network, request.corruptions, severities=request.severities, rows=request.images.rows, **routed
            )
            result["corruptions"] = asdict(found)
        if classes is not None:
            result |= {} if request.attacks == ("none",) else {"radius": request.radius}
            result |= accuracies(network, test, request.attacks, radius=request.radius, seed=request.seed, **routed)
    if json:
        typer.echo(json_.dumps(result, indent=2))
        return
    console = Console(highlight=False, markup=False)
    console.print(f"{request.from_} on {counted(len(test), 'test image')} of {data}", soft_wrap=True)
    console.print(*tables(result), sep="\n")


def _classes(request: Request, saved: Saved) -> int | None:
    """Return the number of classes of the network; None for an extractor.

    Raises:
        typer.BadParameter: it is an extractor, and what is asked for needs a classifier.
    """
    classes = classes_of(saved)
    if classes is not None:
        return classes
    if request.neighbours is None:
        why = f"{request.from_} is an extractor, no classifier of labels: give --neighbours, or fine-tune it."
        raise typer.BadParameter(why)
    if request.for_classifiers:
        why = f"--attacks, --radius, --seed and --corruptions need a classifier, {request.from_} is an extractor: fine-tune it."
        raise typer.BadParameter(why)
    return None


def _check(request: Request, spec: NetworkSpec, classes: int | None, test: Any, train: Any) -> None:
    """Refuse data that do not fit the network or the question, before the first image is classified.

    Raises:
        DataError: images of another shape, no labels, or labels that the network does not know.
        RequirementError: fewer training images than neighbours.
    """
    data, k, first = request.images.data, request.neighbours, _first(request.corruptions, request.severities)
    for name, images in ((data, test), (data, train), (str(request.corruptions), first)):
        if images is None:
            continue
        check_images(images, spec, name)
        found = classes_in(images, name, "an accuracy")
        if classes is not None and found > classes:
            labels = labels_of(images)
            hint = "" if labels is None else one_based(labels, classes)
            why = f"{name} has labels up to {found - 1}, the network tells 0 to {classes - 1} apart{hint}: is it of other data?"
            raise DataError(why)
    if k is not None and k > len(train):
        why = f"--neighbours {k} are asked of {counted(len(train), 'training image')}: give no more than there are."
        raise RequirementError(why)


def _first(corruptions: Path | None, severities: tuple[int, ...]) -> Any:
    """Return the images of the first corruption in a folder at the first severity; None without one."""
    names = [] if corruptions is None else [name for name in CORRUPTIONS if (corruptions / f"{name}.npy").exists()]
    return corrupted(corruptions, names[0], severities[0], severities) if corruptions is not None and names else None


def _by_neighbours(
    network: RoutedNetwork, train: Any, test: Any, k: int, report: Progress, common: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the k-NN accuracy of the representation that the head reads.

    A network with two routes is read on the adversarial one, as in fine-tuning.
    """
    represent = partial(network.represent, route="adversarial")
    return asdict(neighbours(represent, train, test, k=k, model=network, progress=report, **common))

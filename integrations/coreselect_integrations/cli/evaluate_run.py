"""The work of `coreselect evaluate`: load the network and the images, check that they fit, measure, and print."""

import json as json_
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console

from coreselect.cli.device import device_on
from coreselect.cli.options import DataOptions, OwnModelOptions
from coreselect.cli.whole_tables import print_whole
from coreselect.data import labels_of
from coreselect.data.labels import one_based
from coreselect.data.resizing import Resized
from coreselect.errors import DataError, RequirementError
from coreselect.network.placing import placed
from coreselect.network.precision import DTYPES
from coreselect.protocols import Progress
from coreselect.support.progress import progress
from coreselect_integrations.cli.checks_before_work import classes_in, network_at
from coreselect_integrations.cli.evaluate_tables import tables
from coreselect_integrations.cli.own_network import check_own, network_of, source_of
from coreselect_integrations.cli.run_progress import counted
from coreselect_integrations.evaluation.corruption_files import CORRUPTIONS, corrupted
from coreselect_integrations.evaluation.corruptions import (
    OURS,
)
from coreselect_integrations.evaluation.named import accuracies, under_corruptions
from coreselect_integrations.evaluation.neighbours import neighbours
from coreselect_integrations.networks import NetworkSpec, RoutedNetwork, Saved, classes_of, restore, route_call
from coreselect_integrations.networks.class_names import check_class_names
from coreselect_integrations.pretraining.dataset_shape import check_images
from coreselect_integrations.training.contexts import called_in


@dataclass(frozen=True)
class Request:
    """What a command line of `coreselect evaluate` asks for.

    `for_classifiers` says whether an option was given that needs a classifier.
    """

    from_: Path | None
    images: DataOptions
    attacks: tuple[str, ...]
    corruptions: str | None
    severities: tuple[int, ...]
    neighbours: int | None
    train_rows: int | None
    radius: float
    batch_size: int
    seed: int
    num_threads: int | None
    device: str | None
    for_classifiers: bool
    precision: str
    own: OwnModelOptions

    @property
    def source(self) -> str:
        """What the network is opened from, in words."""
        return source_of(self.from_, self.own)


def run(request: Request, *, json: bool) -> None:
    """Measure, and print the result."""
    device = device_on(request.device)
    if request.num_threads is not None:
        torch.set_num_threads(request.num_threads)
    check_own(request.own, request.from_)
    data, k = request.images.data, request.neighbours
    early = None if request.from_ is None or request.own.model is not None else network_at(request.from_)
    test = request.images.read("test", request.images.rows)
    saved = early or network_of(request.from_, request.own, test, lambda: classes_in(test, data, "an accuracy"))
    classes = _classes(request, saved)
    train = None if k is None else request.images.read("train", request.train_rows)
    _check(request, saved.spec, classes, test, train)
    if classes is not None:
        check_class_names(saved, test, data)
    network = placed(restore(saved), device).eval()
    result: dict[str, Any] = {"from": request.source, **request.images.record, "n": len(test)}
    precision = DTYPES[request.precision]
    result |= {} if precision is None else {"precision": request.precision}
    common: dict[str, Any] = {"batch_size": request.batch_size, "device": device}
    with progress() as report:
        routed = {**common, "call": called_in(route_call, precision), "progress": report}
        if k is not None:
            result["neighbours"] = _by_neighbours(network, train, test, k, report, precision, common)
        if request.corruptions is not None:
            images = request.images
            found = under_corruptions(
                network, test, request.corruptions, severities=request.severities, seed=request.seed, rows=images.rows,
                size=images.size, resize=images.resize, **routed,
            )  # fmt: skip
            result["corruptions"] = asdict(found)
        if classes is not None:
            result |= {} if request.attacks == ("none",) else {"radius": request.radius}
            result |= accuracies(network, test, request.attacks, radius=request.radius, seed=request.seed, **routed)
    if json:
        typer.echo(json_.dumps(result, indent=2))
        return
    console = Console(highlight=False, markup=False)
    console.print(f"{request.source} on {counted(len(test), 'test image')} of {data}", soft_wrap=True)
    for table in tables(result):
        print_whole(table)


def _classes(request: Request, saved: Saved) -> int | None:
    """Return the number of classes of the network; None for an extractor.

    Raises:
        typer.BadParameter: it is an extractor, and what is asked for needs a classifier.
    """
    classes = classes_of(saved)
    if classes is not None:
        return classes
    if request.neighbours is None:
        why = f"{request.source} is an extractor, no classifier of labels: give --neighbours, or fine-tune it."
        raise typer.BadParameter(why)
    if request.for_classifiers:
        why = f"--attacks, --radius, --seed and --corruptions need a classifier, {request.source} is an extractor: fine-tune it."
        raise typer.BadParameter(why)
    return None


def _check(request: Request, spec: NetworkSpec, classes: int | None, test: Any, train: Any) -> None:
    """Refuse data that do not fit the network or the question, before the first image is classified.

    Raises:
        DataError: images of another shape, no labels, or labels that the network does not know.
        RequirementError: fewer training images than neighbours.
    """
    data, k, first = request.images.data, request.neighbours, _first(request)
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


def _first(request: Request) -> Any:
    """Return the images of the first corruption in a folder at the first severity; None without a folder."""
    if request.corruptions in (None, OURS):
        return None
    folder, images = Path(request.corruptions or ""), request.images
    names = [name for name in CORRUPTIONS if (folder / f"{name}.npy").exists()]
    if not names:
        return None
    first = corrupted(folder, names[0], request.severities[0], request.severities)
    return first if images.size is None else Resized(first, images.size, images.resize)


def _by_neighbours(
    network: RoutedNetwork,
    train: Any,
    test: Any,
    k: int,
    report: Progress,
    precision: torch.dtype | None,
    common: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the k-NN accuracy of the representation that the head reads.

    A network with two routes is read on the adversarial one, as in fine-tuning.
    """
    called = called_in(lambda model, x, route: network.represent(x, route), precision)
    return asdict(
        neighbours(
            lambda x: called(network, x, "adversarial"), train, test, k=k, model=network, progress=report, **common
        )
    )

"""The work of `coreselect select`: read the data, make the model and the task, choose, and write the index file."""

import json as json_
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console

from coreselect.choosing import select as choose
from coreselect.cli.model import PreparedModel, from_factory, normalised, save_weights, warmed
from coreselect.cli.options import AttackOptions, MachineOptions, PoolOptions, RcsOptions, WarmupOptions
from coreselect.cli.plain_values import as_json
from coreselect.cli.progress import progress
from coreselect.cli.select_method import IN_PRECISION, make_selector, training_attack
from coreselect.cli.select_options import ArrayOptions, MethodOptions, ModelOptions, PassOptions
from coreselect.cli.show import summary
from coreselect.data import labels_of, load, names_of
from coreselect.data.arrays import read_array
from coreselect.data.items import check_timeout
from coreselect.data.subsets import holdout
from coreselect.errors import DataError, ShapeError
from coreselect.io import index_file
from coreselect.io.atomic import check_target
from coreselect.losses import loss as find_loss
from coreselect.protocols import Attack, Loss, Progress
from coreselect.task.task import Task


@dataclass(frozen=True)
class Request:
    """What a command line of `coreselect select` asks for."""

    out: Path
    pool: PoolOptions
    size: int | None
    selector: str
    budget: float
    method: MethodOptions
    rcs: RcsOptions
    warmup: WarmupOptions
    model: ModelOptions
    attack: AttackOptions
    passes: PassOptions
    seed: int
    machine: MachineOptions
    arrays: ArrayOptions

    @property
    def radius(self) -> float:
        """The radius of all attacks."""
        return 8 / 255 if self.attack.radius is None else self.attack.radius


@dataclass(frozen=True)
class Work:
    """The task of a request, with the dataset and a record of the model; None and nothing for arrays."""

    task: Task
    dataset: Any
    model: Mapping[str, Any]


def run(request: Request, *, json: bool) -> None:
    """Choose, write the index file, and print the result."""
    index_file.ending(request.out)  # refuse an unknown format here, not an hour later
    for target in (request.out, request.model.save_model):
        if target is not None:
            check_target(target)
    talk = Console(stderr=True, highlight=False)
    picker = make_selector(request.selector, request.method, request.rcs, request.radius)
    with progress() as report:
        arrays = {name: path for name, path in asdict(request.arrays).items() if path is not None}
        work = _over_arrays(arrays) if arrays else _over_model(request, report, talk)
        selection = choose(work.task.reporting(report), picker, request.budget, request.seed)
    selection.save(request.out)
    talk.print(f"wrote {request.out}", markup=False)
    known: dict[str, Any] = {}
    if work.dataset is not None:
        known = {"labels": labels_of(work.dataset), "class_names": names_of(work.dataset)}
    if json:
        record = {"file": str(request.out), "model": dict(work.model), **as_json(selection, **known)}
        typer.echo(json_.dumps(record, indent=2))
    else:
        Console().print(summary(selection, **known))


def _over_arrays(paths: Mapping[str, Path]) -> Work:
    """Make the task of arrays.

    Raises:
        DataError, ShapeError: as `Task.from_arrays` says; the message names the files.
    """
    given: dict[str, Any] = {name: read_array(path) for name, path in paths.items()}
    try:
        return Work(Task.from_arrays(**given), None, {})
    except (DataError, ShapeError) as why:
        raise type(why)(f"{', '.join(map(str, paths.values()))}: {why}") from why


def _over_model(request: Request, report: Progress, talk: Console) -> Work:
    """Read the images, and make the model and the task.

    Raises:
        typer.BadParameter: --precision is given, and the loss has no attack.
    """
    loss = find_loss(request.warmup.loss or "sat")
    attack = training_attack(loss, request.radius, request.attack.attack_steps)
    if attack is None and request.passes.precision != "fp32":
        raise typer.BadParameter(f"nothing is attacked under --loss {request.warmup.loss}: leave --precision out.")
    check_timeout(request.machine.read_timeout, request.machine.num_workers)
    dataset = load(request.pool.data, "train", request.pool.rows, size=request.size)
    share = request.pool.validation or 0.0
    pool, held = holdout(dataset, int(share) if share >= 1 else share, request.seed)
    device = torch.device(request.machine.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    ready = _model(request, loss, pool, device, report)
    talk.print(
        f"{request.pool.data}: {len(pool)} to choose from, {len(held)} held out for validation; {ready.said}",
        markup=False,
    )
    return Work(_task(request, loss, attack, ready, pool, held, device), dataset, ready.record)


def _model(request: Request, loss: Loss, pool: Any, device: torch.device, report: Progress) -> PreparedModel:
    """Load the user's model, or warm up a small network."""
    model, warmup = request.model, request.warmup
    if model.model is not None:
        ready = from_factory(
            model.model, model.checkpoint, model.views, loss.views, device, model.routes, model.weights_key
        )
        return ready if model.mean is None else normalised(ready, model.mean, model.std or "")
    ready = warmed(
        pool, device=device, progress=report, arch=warmup.arch, loss=warmup.loss, epochs=warmup.warmup_epochs,
        attack_steps=model.warmup_attack_steps, radius=request.radius, seed=request.seed,
    )  # fmt: skip
    if model.save_model is not None:
        save_weights(ready.model, model.save_model)
    return ready


def _task(
    request: Request,
    loss: Loss,
    attack: Attack | None,
    ready: PreparedModel,
    pool: Any,
    held: Any,
    device: torch.device,
) -> Task:
    """Make the task of a model."""
    # a CPU maps the activations of larger batches anew at every pass, which is slower
    batch_size = request.passes.batch_size or (64 if device.type == "cpu" else 256)
    inside = "" if request.model.mean is None else "model."  # the user's names, inside `Normalized`
    head, capture = request.model.head, request.model.capture
    return Task.from_model(
        ready.model, pool, held, loss=loss,
        attack=None if attack is None else IN_PRECISION[request.passes.precision or "fp32"](attack),
        head=head and inside + head, capture=capture and (capture if capture == "all" else inside + capture),
        call=ready.call, views=ready.views, batch_size=batch_size, num_workers=request.machine.num_workers,
        timeout=request.machine.read_timeout, device=device,
    )  # fmt: skip

"""The work of `coreselect select`: read the data, make the model and the task, choose, and write the index file."""

import json as json_
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console
from torch.utils.data import Subset

from coreselect.choosing import plan, select_each
from coreselect.cli.divided_pool import classes_of, conditions_of_positions, divided
from coreselect.cli.model import PreparedModel, from_factory, known_of, normalised, registered, save_weights, warmed
from coreselect.cli.plain_values import as_json
from coreselect.cli.processes import as_rank
from coreselect.cli.select_checks import named, refuse_early, refuse_recorded
from coreselect.cli.select_files import say_what_is_stored, written_alone
from coreselect.cli.select_method import make_selector, training_attack
from coreselect.cli.select_passes import prepared
from coreselect.cli.select_record import inputs_of, options_of, pool_of, recorded
from coreselect.cli.select_request import Request, Work, without_warm_up
from coreselect.cli.show import summary
from coreselect.cli.show_plan import show_plans
from coreselect.cli.whole_tables import print_whole
from coreselect.data.arrays import read_array
from coreselect.data.conditions import shares_said
from coreselect.data.items import check_timeout
from coreselect.errors import DataError, ShapeError
from coreselect.gradients.row_store import FolderStore
from coreselect.losses import loss as find_loss
from coreselect.protocols import Attack, Loss, Progress, Selector
from coreselect.support import ranks
from coreselect.support.progress import progress
from coreselect.task.recipe import no_progress
from coreselect.task.task import Task
from coreselect.types import Selection

WARM_UP_BATCH = 128  # the batch of a warm-up, which a dry run times


def pickers_of(request: Request, radius: float) -> dict[str, Selector]:
    """Make the selectors of a request, by their words; their attacks have this radius."""
    return {name: make_selector(name, request.method, request.rcs, radius) for name in request.files}


def run(request: Request, *, json: bool) -> None:
    """Choose by each method, write its index file, and print the result; or print only what that would cost."""
    with as_rank(request.machine.device) as device:
        ranks.together(lambda _: _run(request, device, json=json), "select")


def _run(request: Request, device: torch.device, *, json: bool) -> None:
    """Choose as one of the ranks; rank 0 writes and speaks."""
    refuse_recorded(pickers_of(request, request.radius))  # refused here, as what cannot be made
    conditions_of_positions(request.conditions, request.pool)
    if request.work.dry_run:
        work = work_of(request, device, no_progress, None)
        pickers = pickers_of(request, work.radius)
        refuse_early(work.task, pickers, request.budget, request.seed)
        plans = [plan(work.task, picker, request.budget, request.seed) for picker in pickers.values()]
        show_plans(plans, warm_up=work.warm_up, store=request.work.store, json=json)
        return
    files = [path for path in request.files.values() if path is not None]
    with written_alone(files, request.model.save_model):
        _choose(request, device, json=json)


def _choose(request: Request, device: torch.device, *, json: bool) -> None:
    """Choose and write the files, which no other process writes."""
    first, store = ranks.rank() == 0, request.work.store
    if store is not None:
        FolderStore(store).check()
    talk = Console(stderr=True, highlight=False, quiet=not first)
    inputs = inputs_of(options_of(request)) if first else {}
    found: list[tuple[Path, Selection]] = []
    with progress(quiet=not first) as report:
        work = work_of(request, device, report, talk)
        if store is not None:
            say_what_is_stored(store, talk)
        pickers = pickers_of(request, work.radius)
        refuse_early(work.task, pickers, request.budget, request.seed)
        made = select_each(
            work.task.reporting(report), pickers.values(), request.budget, request.seed, store=store, share=True
        )
        for name, path in request.files.items():
            assert path is not None  # without --dry-run there is --out
            with named(name, among=len(pickers)):
                selection = next(made)
            if first:
                recorded(selection, request, name, work, inputs).save(path)
            talk.print(f"wrote {path}", markup=False, soft_wrap=True)
            found.append((path, selection))
    if not first:
        return
    known = _classes(work)
    if json:
        records = [
            {"file": str(path), "model": dict(work.model), **as_json(s, **known), **pool_of(s, work)}
            for path, s in found
        ]
        typer.echo(json_.dumps(records[0] if len(records) == 1 else records, indent=2))
        return
    for _, selection in found:
        print_whole(summary(selection, **known), highlight=True)
        pool = pool_of(selection, work)
        if pool and (said := shares_said(pool["picks"], pool["pool_picks"])):
            Console(highlight=False, markup=False, soft_wrap=True).print(f"picks: {said}")


def _classes(work: Work) -> dict[str, Any]:
    """Return what a table of classes is made from: labels by position in the dataset, names, and the labels of an impure pool."""
    return {} if work.dataset is None else classes_of(work.dataset, work.impure)


def work_of(request: Request, device: torch.device, report: Progress, talk: Console | None) -> Work:
    """Make the task of a request; `talk` is None where nothing is said."""
    arrays = {name: path for name, path in asdict(request.arrays).items() if path is not None}
    return _over_arrays(arrays, request.radius) if arrays else _over_model(request, device, report, talk)


def _over_arrays(paths: Mapping[str, Path], radius: float) -> Work:
    """Make the task of arrays.

    Raises:
        DataError, ShapeError: as `Task.from_arrays` says; the message names the files.
    """
    given: dict[str, Any] = {name: read_array(path) for name, path in paths.items()}
    try:
        return Work(Task.from_arrays(**given), None, {}, radius)
    except (DataError, ShapeError) as why:
        raise type(why)(f"{', '.join(map(str, paths.values()))}: {why}") from why


def _over_model(request: Request, device: torch.device, report: Progress, talk: Console | None) -> Work:
    """Read the images, and make the model and the task.

    Raises:
        typer.BadParameter: --precision is given, and the loss has no attack.
    """
    check_timeout(request.machine.read_timeout, request.machine.workers(device))
    dataset = request.pool.read("train", request.pool.rows)
    trained = None
    if request.model.from_ is not None:
        own = {"model": request.model.model, "loss": request.warmup.loss, "views": request.model.views}
        trained = registered("coreselect.trained")(request.model.from_, dataset, request.pool.data, device, own=own)
    loss = find_loss(request.warmup.loss or "sat") if trained is None else trained.loss
    radius, attack = request.radius, training_attack(loss, request.radius, request.attack.attack_steps)
    if trained is not None and request.attack.radius is None:
        radius = getattr(trained.attack, "radius", radius)
        steps = request.attack.attack_steps
        attack = trained.attack if steps is None else training_attack(loss, radius, steps)
    if attack is None and request.passes.precision != "fp32":
        raise typer.BadParameter(f"nothing is attacked under --loss {loss.name}: leave --precision out.")
    share, seed = request.pool.validation, request.seed
    if share is None:
        share, seed = (0.01, seed) if trained is None else (trained.validation, trained.seed)
    parts = divided(request.conditions, request.pool, dataset, share, seed)
    pool, held = parts.pool, parts.held
    warm_up = None
    if request.work.dry_run and request.model.model is None and trained is None:
        warm_up = _warm_up_seconds(request, pool, device)
        request = without_warm_up(request)
    if trained is None:
        if request.model.model is None:  # what the selection would refuse is found before the warm-up
            early = without_warm_up(request)
            early = replace(early, passes=replace(early.passes, precision=None))  # nothing is attacked, or timed
            ready = _model(early, loss, pool, device, no_progress)
            task = _task(early, loss, attack, ready, pool, held, device, None)
            refuse_early(task, pickers_of(request, radius), request.budget, request.seed, probe=True)
        ready = _model(request, loss, pool, device, report)
    else:
        ready = PreparedModel(trained.model, trained.call, trained.views, trained.said, trained.record)
    if talk is not None:
        for line in () if trained is None else trained.lines:
            talk.print(line, markup=False)
        own_set = request.conditions.validation_data
        whence = "held out" if own_set is None else f"of {own_set}"
        talk.print(
            f"{request.pool.data}: {len(pool)} to choose from, {len(held)} {whence} for validation; {ready.said}",
            markup=False,
        )
    task = _task(request, loss, attack, ready, pool, held, device, talk)
    return Work(task, dataset, ready.record, radius, warm_up, parts.record, parts.conditions, parts.impure)


def _warm_up_seconds(request: Request, pool: Any, device: torch.device) -> float:
    """Estimate the seconds of the warm-up from one of its batches."""
    some, warmup = min(len(pool), WARM_UP_BATCH), request.warmup
    epochs = 1 if warmup.warmup_epochs is None else warmup.warmup_epochs
    if not epochs:
        return 0.0
    ready = warmed(
        Subset(pool, range(some)), device=device, progress=no_progress, arch=warmup.arch or "small",
        loss=warmup.loss or "sat", epochs=1, attack_steps=request.model.warmup_attack_steps, radius=request.radius,
        seed=request.seed,
    )  # fmt: skip
    return ready.record["warmup_seconds"] / some * len(pool) * epochs


def _model(request: Request, loss: Loss, pool: Any, device: torch.device, report: Progress) -> PreparedModel:
    """Load the user's model, or warm up a small network."""
    model, warmup = request.model, request.warmup
    if model.model is not None:
        ready = from_factory(
            model.model, model.checkpoint, model.views, loss.views, device, model.routes, model.weights_key,
            known_of(pool, loss),
        )  # fmt: skip
        return ready if model.mean is None else normalised(ready, model.mean, model.std or "")
    ready = warmed(
        pool, device=device, progress=report, arch=warmup.arch or "small", loss=warmup.loss or "sat",
        epochs=1 if warmup.warmup_epochs is None else warmup.warmup_epochs,
        attack_steps=model.warmup_attack_steps, radius=request.radius, seed=request.seed,
    )  # fmt: skip
    if model.save_model is not None and ranks.rank() == 0:
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
    talk: Console | None,
) -> Task:
    """Make the task of a model."""
    # a CPU maps the activations of larger batches anew at every pass, which is slower
    batch_size = request.passes.batch_size or (64 if device.type == "cpu" else 256)
    inside = "" if request.model.mean is None else "model."  # the user's names, inside `Normalized`
    head, capture, at = request.model.head, request.model.capture, request.model.attack_at
    task = Task.from_model(
        ready.model, pool, held, loss=loss, attack=attack, attack_at=at and inside + at, head=head and inside + head,
        capture=capture and (capture if capture == "all" else inside + capture),
        call=ready.call, views=ready.views, batch_size=batch_size, num_workers=request.machine.workers(device),
        timeout=request.machine.read_timeout, device=device,
    )  # fmt: skip
    return prepared(task, request.passes.precision, request.seed, talk, own=request.model.model is not None)

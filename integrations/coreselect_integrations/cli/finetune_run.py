"""The work of `coreselect finetune`: check everything, fine-tune, save the network, and print what was done."""

import json as json_
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from rich.console import Console

from coreselect.cli.device import device_on
from coreselect.data import names_of
from coreselect.data.items import check_timeout
from coreselect.errors import BudgetError, RequirementError
from coreselect.io.atomic import atomic_file
from coreselect.network.precision import DTYPES
from coreselect.types import Int64
from coreselect_integrations.cli.checks_before_work import check_folder, classes_in, folder_of_run, network_at
from coreselect_integrations.cli.finetune_request import Request, mode_of
from coreselect_integrations.cli.own_network import network_of
from coreselect_integrations.cli.run_progress import RunProgress, counted, duration
from coreselect_integrations.finetuning import Finetuned, Mode
from coreselect_integrations.finetuning import finetune as finetune_by
from coreselect_integrations.finetuning.autolinear import auto_linear
from coreselect_integrations.finetuning.autolora import autolora
from coreselect_integrations.finetuning.partly_labelled import draw_labelled
from coreselect_integrations.finetuning.post_training import PostTrained, post_train
from coreselect_integrations.finetuning.semi_supervised import SemiSupervised, semi_supervised
from coreselect_integrations.networks import MODEL, Saved, save_network
from coreselect_integrations.own_code import is_own
from coreselect_integrations.pretraining.dataset_shape import check_images, read_labels
from coreselect_integrations.systems.augment import cropped_by, usual_crop
from coreselect_integrations.training.runs import CHECKPOINT, LOG

DUAL_MODES = ("aff", "autolora")  # in training they keep statistics for two routes
PARTS = {"lpaft": ("probe", "full"), "semi": ("teacher", "student")}  # folders of those that train twice
LABELLED = "labelled.json"


def run(request: Request, *, json: bool) -> None:
    """Fine-tune, save the network, and print what was done."""
    with folder_of_run(request.out):
        record, trained = tuned(request)
    _print(request, record, trained, json=json)


def tuned(request: Request) -> tuple[Finetuned | PostTrained, int]:
    """Fine-tune, save the network in its folder, and return the record and the number of epochs that were trained now."""
    mode, out, data = request.mode, request.out, request.images.data
    device = device_on(request.machine.device)
    check_timeout(request.machine.read_timeout, request.machine.workers(device))
    check_folder(out)
    _check_kind(mode, out)
    own = request.own
    early = None if own.model is not None else network_at(request.from_, dual=mode in DUAL_MODES)
    dataset = request.images.read("train", request.images.rows)
    from_ = None if request.begins_with_own else request.from_
    saved = early or network_of(from_, own, dataset, lambda: classes_in(dataset, data, mode))
    if is_own(saved.spec.arch) and mode == "autolora":
        raise RequirementError(
            "autolora trains two sets of normalisations, which a network of yours has not: take aff."
        )
    check_images(dataset, saved.spec, data)
    flip = saved.spec.channels > 1 if request.flip is None else request.flip
    classes = 0 if mode == "lpaft" else classes_in(dataset, data, f"fine-tuning by {mode}")
    how, preset = mode_of(request, saved, classes)
    epochs = request.epochs(how)
    talk = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    talk.print(f"{mode} of {request.from_} ({saved.spec.arch}) on {data}: {counted(len(dataset), 'image')}")
    talk.print(f"{counted(epochs, 'epoch')} on {device}, {preset}in {out}")
    with RunProgress(epochs) as progress:
        settings = {**_settings(request, saved, device, flip), "progress": progress, "ended": progress.ended}
        record = _fine_tune(request, saved, dataset, classes, how, settings)
    about = {
        "mode": mode, **request.images.record, "epochs": epochs, "seed": request.seed,
        "attack": asdict(request.pgd), "flip": flip, "precision": request.training.precision, "from": dict(saved.about),
    }  # fmt: skip
    if how is not None and how.own_loss is not None:
        about["loss"] = how.own_loss
    if mode == "semi":
        about |= {"labelled": request.labelled, "teacher": request.teacher}
    save_network(out / MODEL, record.network, record.spec, about, names_of(dataset) if classes else None)
    return record, progress.count


def _print(request: Request, record: Finetuned | PostTrained, trained: int, *, json: bool) -> None:
    """Print what was loaded and how training went, as JSON or in words."""
    out, loaded = request.out, record.transfer
    log = (*record.probe, *record.full) if isinstance(record, PostTrained) else record.log
    if isinstance(record, SemiSupervised):
        log = (*record.teacher, *log)
    if json:
        went = {"epochs": len(log), "trained": trained, "loss": log[-1].loss, "accuracy": log[-1].accuracy}
        counts = {"loaded": len(loaded.loaded), "fresh": len(loaded.fresh), "left_out": len(loaded.left_out)}
        typer.echo(json_.dumps({"out": str(out), "mode": request.mode, **counts, **went, "seconds": record.seconds}))
        return
    said = f"{counted(len(loaded.loaded), 'tensor')} came from {request.from_}, {len(loaded.fresh)} began anew\n"
    said += f"{counted(len(log), 'epoch')} took {duration(sum(epoch.seconds for epoch in log))}"
    if trained < len(log):
        said += f", {len(log) - trained} of them before" if trained else ": nothing was left to train"
    written = (out / PARTS[request.mode][1] if request.mode in PARTS else out) / LOG
    said += f"\n{out / MODEL} and {written} hold the network and the log"
    Console(highlight=False, markup=False, soft_wrap=True).print(said)


def _settings(request: Request, saved: Saved, device: torch.device, flip: bool) -> dict[str, Any]:
    """Return the settings that all ways of fine-tuning have in common."""
    size = saved.spec.size
    crop = request.tuning.crop or usual_crop(size)
    about = {"flip": flip} if crop == "pad" else {"flip": flip, "crop": crop}
    return {
        "seed": request.seed, "batch_size": request.training.batch_size,
        "augment": cropped_by(crop, size, flip=flip), "num_workers": request.machine.workers(device),
        "timeout": request.machine.read_timeout,
        "precision": DTYPES[request.training.precision or "fp32"], "device": device, "folder": request.out,
        "keep_every": request.keep_every,
        "about": about,
    }  # fmt: skip


def _check_kind(mode: str, out: Path) -> None:
    """Refuse a folder whose model.pt was written by another kind of run: some keep their runs in folders below it.

    Raises:
        RequirementError: the folder is of another kind.
    """
    others = [out / first / CHECKPOINT for name, (first, _) in PARTS.items() if name != mode]
    other = next((path for path in [*others, *([out / CHECKPOINT] if mode in PARTS else [])] if path.exists()), None)
    if other is not None:
        why = f"{out} holds a run of another kind ({other}), {mode} would write over its network: give another folder."
        raise RequirementError(why)


def _fine_tune(
    request: Request, saved: Saved, dataset: Any, classes: int, how: Mode | None, settings: dict[str, Any]
) -> Finetuned | PostTrained:
    """Fine-tune as the mode says.

    Raises:
        BudgetError: autolora has too few images to hold some out.
    """
    start, mode, lr = (saved.weights, saved.spec, dataset), request.mode, request.training.lr
    if mode == "lpaft":
        return post_train(
            *start, clusters=request.clusters, dual_bn=request.dual_bn, epochs=request.two_trainings, attack=request.pgd,
            **settings,
        )  # fmt: skip
    if mode == "semi":
        labels = read_labels(dataset)
        labelled = draw_labelled(labels, request.labelled, request.seed)
        _keep_labelled(request, labelled, labels[labelled])
        return semi_supervised(
            *start, labelled=labelled, labels=labels[labelled], classes=classes, teacher=request.teacher,
            epochs=request.two_trainings, attack=request.pgd, **settings,
        )  # fmt: skip
    if mode in ("autolora-slf", "autolora-alf"):
        assert how is not None
        judge = replace(request.pgd, step=request.pgd.radius / 4, steps=20)
        settings |= {"epochs": request.epochs(how), "lr": lr or 0.1}
        return _held_out(len(dataset), lambda: auto_linear(how, *start, classes=classes, judged_by=judge, **settings))
    if mode == "autolora":
        own = {"epochs": request.epochs(None), "lr": lr or 0.1, "rank": request.rank}
        judge = replace(request.pgd, step=request.pgd.radius / 4, steps=20)
        settings = {**settings, **own, "batch_size": settings["batch_size"] or 128}
        return _held_out(
            len(dataset), lambda: autolora(*start, classes=classes, attack=request.pgd, judged_by=judge, **settings)
        )
    assert how is not None
    return finetune_by(how, *start, classes=classes, epochs=request.training.epochs, lr=lr, **settings)


def _keep_labelled(request: Request, labelled: Int64, labels: Int64) -> None:
    """Write which images were labelled, so that another program can label the same ones."""
    drawn = {"seed": request.seed, "classes": np.bincount(labels).tolist(), "indices": labelled.tolist()}
    request.out.mkdir(parents=True, exist_ok=True)
    with atomic_file(request.out / LABELLED) as file:
        file.write((json_.dumps(drawn) + "\n").encode())


def _held_out(images: int, tune: Callable[[], Finetuned]) -> Finetuned:
    """Fine-tune with images held out.

    Raises:
        BudgetError: there are too few.
    """
    try:
        return tune()
    except BudgetError as error:
        why = f"autolora holds out a twentieth of its images to judge itself by: {images} are too few, 20 will do."
        raise BudgetError(why) from error

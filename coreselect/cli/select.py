"""`coreselect select`: from data and a model (or a small network, or arrays alone) to an index file."""

import json as json_
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console

from coreselect.attacks import PGD
from coreselect.choosing import select as choose
from coreselect.cli import show
from coreselect.cli.model import from_factory, save_weights, warmed
from coreselect.cli.progress import progress
from coreselect.data import labels_of, load, names_of
from coreselect.data.arrays import read_array
from coreselect.data.subsets import holdout
from coreselect.errors import DataError, RequirementError, ShapeError
from coreselect.gradients.sketch import Sketch
from coreselect.io import index_file
from coreselect.losses import loss as find_loss
from coreselect.network.precision import HalfPrecision
from coreselect.objectives import OBJECTIVES, RD
from coreselect.protocols import Attack, Loss
from coreselect.selectors import COMBINATORS, PerClass, get_selector
from coreselect.task.task import Task

_MODEL, _METHOD, _ATTACK, _ARRAYS = "Model", "Method", "Attacks", "Arrays instead of a model"
LOWERED: Mapping[str, Callable[[Attack], Attack]] = {"fp32": lambda attack: attack, "bf16": HalfPrecision}


def select(
    out: Annotated[
        Path, typer.Option(help="Index file to write: .npz or .json (complete), .npy, .txt or .csv (indices).")
    ],
    data: Annotated[
        str, typer.Option(help="digits, an array folder, CIFAR files, an image folder, or package.module:factory.")
    ] = "digits",
    selector: Annotated[str, typer.Option(help="Method; `coreselect methods` lists them.")] = "rcs",
    fraction: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Share of the pool to choose.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Number of examples to choose.")] = None,
    seed: Annotated[int, typer.Option(help="Decides every draw.")] = 0,
    rows: Annotated[int | None, typer.Option(min=2, help="Use only the first so many training examples.")] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Crop and resize an image folder's images to this side.")
    ] = None,
    validation: Annotated[
        float, typer.Option(min=0.0, help="Held out for RD: a share, or a count if 1 or more.")
    ] = 0.01,
    per_class: Annotated[bool, typer.Option("--per-class", help="Choose class by class.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    loss: Annotated[str, typer.Option(help="Training loss: sat, trades, cl or acl.", rich_help_panel=_MODEL)] = "sat",
    model: Annotated[
        str | None, typer.Option(help="package.module:factory or file.py:factory.", rich_help_panel=_MODEL)
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Weights for it; no code in the file is run.", rich_help_panel=_MODEL)
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="Name of the head; else it is found.", rich_help_panel=_MODEL)
    ] = None,
    capture: Annotated[
        str | None, typer.Option(help="'all', or a pattern of parameter names.", rich_help_panel=_MODEL)
    ] = None,
    views: Annotated[
        str | None, typer.Option(help="Two views of an example, module:function.", rich_help_panel=_MODEL)
    ] = None,
    arch: Annotated[str, typer.Option(help="Without --model: network to warm up.", rich_help_panel=_MODEL)] = "small",
    warmup_epochs: Annotated[int, typer.Option(min=0, help="Its epochs.", rich_help_panel=_MODEL)] = 1,
    warmup_attack_steps: Annotated[int, typer.Option(min=1, help="Its attack's steps.", rich_help_panel=_MODEL)] = 2,
    save_model: Annotated[
        Path | None, typer.Option(help="Keep the warmed-up network's weights here.", rich_help_panel=_MODEL)
    ] = None,
    objective: Annotated[
        str, typer.Option(help=f"Objective: {', '.join(OBJECTIVES)}.", rich_help_panel=_METHOD)
    ] = "rd",
    divergence: Annotated[str, typer.Option(help="Of RD: kl, js or ot.", rich_help_panel=_METHOD)] = "kl",
    eta: Annotated[float, typer.Option(min=0.0, help="Scratch step per pick.", rich_help_panel=_METHOD)] = 0.01,
    group_size: Annotated[
        int | None, typer.Option(min=1, help="Examples a candidate group.", rich_help_panel=_METHOD)
    ] = None,
    stratify: Annotated[str, typer.Option(help="auto, labels, clusters or none.", rich_help_panel=_METHOD)] = "auto",
    recraft: Annotated[
        str, typer.Option(help="once, every, or every so many picks.", rich_help_panel=_METHOD)
    ] = "once",
    search: Annotated[str, typer.Option(help="auto, exact or faiss.", rich_help_panel=_METHOD)] = "auto",
    sketch: Annotated[
        int | None, typer.Option(min=1, help="Project rows to this width.", rich_help_panel=_METHOD)
    ] = None,
    certify: Annotated[
        str, typer.Option(help="instance, paper, sampled or none.", rich_help_panel=_METHOD)
    ] = "instance",
    radius: Annotated[float, typer.Option(min=0.0, help="Of attacks, inputs in [0, 1].", rich_help_panel=_ATTACK)] = 8
    / 255,
    attack_steps: Annotated[
        int | None, typer.Option(min=0, help="Training attack's; else the loss's own.", rich_help_panel=_ATTACK)
    ] = None,
    rd_steps: Annotated[int, typer.Option(min=0, help="Validation attack's steps.", rich_help_panel=_ATTACK)] = 3,
    precision: Annotated[
        str, typer.Option(help="bf16 runs the training attack in bfloat16, all else in full.", rich_help_panel=_ATTACK)
    ] = "fp32",
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Of forward passes; else 256, or 64 on a CPU.", rich_help_panel=_ATTACK)
    ] = None,
    num_workers: Annotated[int, typer.Option(min=0, help="Processes that read images.", rich_help_panel=_ATTACK)] = 0,
    read_timeout: Annotated[
        float, typer.Option(min=0.0, help="Seconds to wait for a batch of these; 0 for ever.", rich_help_panel=_ATTACK)
    ] = 0.0,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, …; else cuda where there is one.", rich_help_panel=_ATTACK)
    ] = None,
    features: Annotated[Path | None, typer.Option(help=".npy [N, D].", rich_help_panel=_ARRAYS)] = None,
    gradients: Annotated[
        Path | None, typer.Option(help=".npy [N, P], or [M, P] with --groups.", rich_help_panel=_ARRAYS)
    ] = None,
    validation_gradient: Annotated[Path | None, typer.Option(help=".npy [P].", rich_help_panel=_ARRAYS)] = None,
    labels: Annotated[Path | None, typer.Option(help=".npy [N].", rich_help_panel=_ARRAYS)] = None,
    groups: Annotated[
        Path | None, typer.Option(help=".npy [N], the group of each example.", rich_help_panel=_ARRAYS)
    ] = None,
) -> None:
    """Choose a coreset and write its indices, with everything a later reader would have to recompute.

    Without --model a small network (--arch) is trained adversarially on the pool first, and said so.
    With --features or --gradients no model is used at all.
    """
    budget = count if fraction is None else fraction
    if budget is None or (fraction is not None and count is not None):
        raise typer.BadParameter("give one of --fraction and --count.")
    if any((features, gradients, labels)) and (model or checkpoint or save_model):
        raise typer.BadParameter("arrays take the place of a model: leave --model, --checkpoint and --save-model out.")
    if any((features, gradients, labels)) and precision != "fp32":
        raise typer.BadParameter("nothing is attacked over arrays: leave --precision out.")
    if (checkpoint and not model) or (save_model and model):
        raise typer.BadParameter(
            "--checkpoint goes with --model, --save-model with the network that is warmed up without one."
        )
    if precision not in LOWERED:
        raise typer.BadParameter(f"--precision is {' or '.join(LOWERED)}, got {precision!r}.")
    if validation > 1 and validation != int(validation):
        raise typer.BadParameter("--validation is a share below 1, or a whole number of images.")
    lower = LOWERED[precision]
    index_file.ending(out)  # refuse an unknown format here, not an hour later
    talk = Console(stderr=True, highlight=False)
    arrays = {
        "features": features,
        "gradients": gradients,
        "validation_gradient": validation_gradient,
        "labels": labels,
        "groups": groups,
    }
    picker = get_selector(
        selector,
        **_settings(
            selector,
            objective,
            divergence,
            eta,
            group_size,
            stratify,
            recraft,
            search,
            sketch,
            certify,
            _pgd(radius, rd_steps),
        ),
    )
    if per_class:
        picker = PerClass(picker)
    about: Any = None
    record: dict[str, Any] = {}
    with progress() as report:
        if any(arrays.values()):
            task: Task = _from_files({k: p for k, p in arrays.items() if p is not None})
        else:
            own = find_loss(loss)
            attack = _training_attack(own, radius, attack_steps)
            if attack is None and precision != "fp32":
                raise typer.BadParameter(f"nothing is attacked under --loss {loss}: leave --precision out.")
            about = load(data, "train", rows, size=size)
            pool, held = holdout(about, int(validation) if validation >= 1 else validation, seed)
            where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            # activations of large batches are mapped anew at every pass on a CPU
            batch = batch_size or (64 if where.type == "cpu" else 256)
            if model is not None:
                ready = from_factory(model, checkpoint, views, own.views, where)
            else:
                ready = warmed(
                    pool, device=where, progress=report, arch=arch, loss=loss, epochs=warmup_epochs,
                    attack_steps=warmup_attack_steps, radius=radius, seed=seed,
                )  # fmt: skip
                if save_model is not None:
                    save_weights(ready.model, save_model)
            talk.print(f"{data}: {len(pool)} to choose from, {len(held)} held out for validation; {ready.said}")
            record = dict(ready.record)
            task = Task.from_model(
                ready.model, pool, held, loss=own, attack=None if attack is None else lower(attack),
                head=head, capture=capture, call=ready.call, views=ready.views, batch_size=batch,
                num_workers=num_workers, timeout=read_timeout, device=where,
            )  # fmt: skip
        selection = choose(task.reporting(report), picker, budget, seed)
    selection.save(out)
    talk.print(f"wrote {out}")
    found = {} if about is None else {"labels": labels_of(about), "class_names": names_of(about)}
    if json:
        typer.echo(json_.dumps({"file": str(out), "model": record, **show.as_json(selection, **found)}, indent=2))
    else:
        Console().print(show.summary(selection, **found))


def _settings(
    selector: str, objective: str, divergence: str, eta: float, group_size: int | None, stratify: str, recraft: str, search: str,
    sketch: int | None, certify: str, attack: Attack,
) -> dict[str, Any]:  # fmt: skip
    """Collect what the named method takes."""
    if objective not in OBJECTIVES:
        raise RequirementError(f"no objective is called {objective!r}; there are {', '.join(OBJECTIVES)}.")
    if selector in {c.name for c in COMBINATORS}:
        raise RequirementError(f"{selector!r} combines other selectors: use it from Python, or --per-class.")
    goal = RD(divergence, attack=attack) if objective == "rd" else OBJECTIVES[objective](attack=attack)
    if selector == "rcs_sampled":
        return {"objective": goal}
    if selector != "rcs":
        return {}
    return {
        "objective": goal,
        "eta": eta,
        "group_size": group_size,
        "stratify": None if stratify == "none" else stratify,
        "recraft": int(recraft) if recraft.isdigit() else recraft,
        "search": search,
        "sketch": None if sketch is None else Sketch(sketch),
        "certify": None if certify == "none" else certify,
    }


def _training_attack(loss: Loss, radius: float, steps: int | None) -> Attack | None:
    """The loss's own attack at this radius, or one of so many steps; losses without an attack keep none."""
    own = loss.default_attack
    if own is None:
        return None
    if steps is not None:
        return _pgd(radius, steps)
    return replace(own, radius=radius, step=own.step * radius / own.radius or 1.0) if isinstance(own, PGD) else own


def _pgd(radius: float, steps: int) -> PGD:
    """Steps that together walk 1¼ radii, as published: 10/255 in all at 8/255."""
    return PGD(radius, 1.25 * radius / max(1, steps) or 1.0, steps)


def _from_files(paths: Mapping[str, Path]) -> Task:
    """Make a task of arrays on disk; a refusal names the files."""
    given: dict[str, Any] = {name: read_array(path) for name, path in paths.items()}
    try:
        return Task.from_arrays(**given)
    except (DataError, ShapeError) as why:
        raise type(why)(f"{', '.join(map(str, paths.values()))}: {why}") from why

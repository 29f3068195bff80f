"""`coreselect select`: from data and a model (or a small network, or arrays alone) to an index file."""

from pathlib import Path
from typing import Annotated

import typer

from coreselect.cli.option_records import Shown, Smallest, takes_records
from coreselect.cli.options import (
    ANY_DEVICE,
    AttackOptions,
    ConditionOptions,
    Fraction,
    Json,
    MachineOptions,
    PoolOptions,
    RcsOptions,
    Seed,
    Selector,
    WarmupOptions,
)
from coreselect.cli.select_options import ArrayOptions, MethodOptions, ModelOptions, PassOptions, WorkOptions


@takes_records
def select(
    out: Annotated[
        Path | None,
        typer.Option(
            help="Index file to write: .npz or .json (complete), a table (.csv), indices (.npy, .txt). With --selectors a folder, "
            "or a name with {selector} in it."
        ),
    ] = None,
    pool: Annotated[PoolOptions, Shown(validation="0.01; with --from as in training")] = PoolOptions(),
    conditions: ConditionOptions = ConditionOptions(),
    selector: Selector = "rcs",
    selectors: Annotated[
        str | None, typer.Option(help="Several methods that share the sweeps over the images: rcs,craig,k_center.")
    ] = None,
    fraction: Fraction = None,
    count: Annotated[int | None, typer.Option(min=1, help="Number of examples to choose.")] = None,
    json: Json = False,
    warmup: Annotated[WarmupOptions, Shown(loss="sat", arch="small", warmup_epochs="1")] = WarmupOptions(),
    model: Annotated[ModelOptions, Shown(capture="the head")] = ModelOptions(),
    method: Annotated[MethodOptions, Shown(group_size="min(64, budget / 8)")] = MethodOptions(),
    rcs: Annotated[RcsOptions, Smallest(rd_steps=0)] = RcsOptions(eta=0.01, rd_steps=3),
    attack: Annotated[AttackOptions, Shown(radius="8/255", attack_steps="those of the loss")] = AttackOptions(),
    passes: Annotated[PassOptions, Shown(batch_size="256, or 64 on a CPU")] = PassOptions(precision="fp32"),
    seed: Seed = 0,
    machine: Annotated[MachineOptions, Shown(device=ANY_DEVICE)] = MachineOptions(),
    work: WorkOptions = WorkOptions(),
    arrays: ArrayOptions = ArrayOptions(),
) -> None:
    """Choose a coreset and write its indices to a file.

    A file .npz or .json also holds gains, certificate, settings and times, which
    `coreselect inspect` shows.

    Without --model, a small network (--arch) is trained adversarially on the
    images first.

    With --from, a trained network is used, with the loss, the views and the
    attack of the last epoch of its training. If that was code of yours, give it
    again: --model, --loss, --views.

    With --features or --gradients, no model is used.
    """
    if out is None and not work.dry_run:
        raise typer.BadParameter("give --out, the file to write, or --dry-run.")
    if (fraction is None) == (count is None):
        raise typer.BadParameter("give one of --fraction and --count.")
    if any((arrays.features, arrays.gradients, arrays.labels)):
        if model.model or model.checkpoint or model.save_model or model.from_:
            raise typer.BadParameter(
                "arrays take the place of a model: leave --model, --checkpoint, --save-model and --from out."
            )
        if conditions.given:
            lost = ", ".join("--" + name.replace("_", "-") for name in conditions.given)
            raise typer.BadParameter(f"{lost} would be without effect over arrays: it is for the images of --data.")
        if work.store is not None:
            raise typer.BadParameter("a store keeps sweeps over images, and arrays need none: leave --store out.")
        if passes.precision != "fp32":
            raise typer.BadParameter("nothing is attacked over arrays: leave --precision out.")
    if (model.checkpoint and not model.model and not model.from_) or (model.save_model and model.model):
        raise typer.BadParameter("--checkpoint needs --model, and --save-model needs a network that is warmed up.")
    if model.from_ is not None:
        own = {
            "--checkpoint": model.checkpoint, "--weights-key": model.weights_key, "--routes": model.routes,
            "--save-model": model.save_model, "--arch": warmup.arch,
            "--loss": None if ":" in (warmup.loss or ":") else warmup.loss,
            "--warmup-epochs": warmup.warmup_epochs,
        }  # fmt: skip
        lost = [name for name, value in own.items() if value is not None]
        if lost:
            raise typer.BadParameter(
                f"{', '.join(lost)} would be without effect with --from, which says what is trained and how."
            )
    if model.attack_at and not (model.model and attack.radius is not None):
        raise typer.BadParameter("--attack-at needs --model, and --radius in the units of that submodule's output.")
    if model.weights_key and not model.checkpoint:
        raise typer.BadParameter("--weights-key is for --checkpoint.")
    normalised = (model.mean, model.std)
    if any(normalised) and not (all(normalised) and model.model):
        raise typer.BadParameter(
            "--mean and --std go together and are for the network of --model: the built-in networks take images in [0, 1]."
        )
    if (method.sigma is not None or method.lipschitz is not None) and (
        method.certify != "paper"
        or "rcs" not in [part.partition(":")[0].strip() for part in (selector or "rcs").split("+")]
    ):
        raise typer.BadParameter(
            "--sigma and --lipschitz would be without effect: they are for rcs with --certify paper."
        )
    if method.sigma is not None and method.lipschitz is not None:
        raise typer.BadParameter("--sigma or --lipschitz, which gives it: name one.")
    share = pool.validation or 0.0
    if share > 1 and share != int(share):
        raise typer.BadParameter("--validation is a share below 1, or a whole number of images.")

    from coreselect.cli.select_files import files_of
    from coreselect.cli.select_request import Request
    from coreselect.cli.select_run import run

    budget = count if fraction is None else fraction
    assert budget is not None  # one of the two is given
    names = [selector or "rcs"] if selectors is None else [name.strip() for name in selectors.split(",")]
    try:
        files = dict(zip(names, files_of(out, names, several=selectors is not None), strict=True))
    except ValueError as why:
        raise typer.BadParameter(str(why)) from why
    run(Request(files, pool, budget, method, rcs, warmup, model, attack, passes, seed or 0, machine, work, arrays,
                conditions), json=json)  # fmt: skip

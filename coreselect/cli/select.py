"""`coreselect select`: from data and a model (or a small network, or arrays alone) to an index file."""

from pathlib import Path
from typing import Annotated

import typer

from coreselect.cli.option_records import Shown, Smallest, takes_records
from coreselect.cli.options import (
    ANY_DEVICE,
    AttackOptions,
    Fraction,
    Json,
    MachineOptions,
    PoolOptions,
    RcsOptions,
    Seed,
    Selector,
    WarmupOptions,
)
from coreselect.cli.select_options import ArrayOptions, MethodOptions, ModelOptions, PassOptions

PRECISIONS = ("fp32", "bf16")


@takes_records
def select(
    out: Annotated[
        Path, typer.Option(help="Index file to write: .npz or .json (complete), .npy, .txt or .csv (indices only).")
    ],
    pool: PoolOptions = PoolOptions(validation=0.01),
    selector: Selector = "rcs",
    fraction: Fraction = None,
    count: Annotated[int | None, typer.Option(min=1, help="Number of examples to choose.")] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="Side to which the images of an image folder are cropped and resized.")
    ] = None,
    json: Json = False,
    warmup: WarmupOptions = WarmupOptions(loss="sat", arch="small", warmup_epochs=1),
    model: Annotated[ModelOptions, Shown(capture="the head")] = ModelOptions(),
    method: Annotated[MethodOptions, Shown(group_size="min(64, budget / 8)")] = MethodOptions(),
    rcs: Annotated[RcsOptions, Smallest(rd_steps=0)] = RcsOptions(eta=0.01, rd_steps=3),
    attack: Annotated[AttackOptions, Shown(radius="8/255", attack_steps="those of the loss")] = AttackOptions(),
    passes: Annotated[PassOptions, Shown(batch_size="256, or 64 on a CPU")] = PassOptions(precision="fp32"),
    seed: Seed = 0,
    machine: Annotated[MachineOptions, Shown(device=ANY_DEVICE)] = MachineOptions(),
    arrays: ArrayOptions = ArrayOptions(),
) -> None:
    """Choose a coreset and write its indices to a file.

    A complete file also holds what a later reader would otherwise have to compute
    again: gains, certificate, settings and time.

    Without --model, a small network (--arch) is trained adversarially on the
    images first.

    With --features or --gradients, no model is used.
    """
    if (fraction is None) == (count is None):
        raise typer.BadParameter("give one of --fraction and --count.")
    if any((arrays.features, arrays.gradients, arrays.labels)):
        if model.model or model.checkpoint or model.save_model:
            raise typer.BadParameter(
                "arrays take the place of a model: leave --model, --checkpoint and --save-model out."
            )
        if passes.precision != "fp32":
            raise typer.BadParameter("nothing is attacked over arrays: leave --precision out.")
    if (model.checkpoint and not model.model) or (model.save_model and model.model):
        raise typer.BadParameter("--checkpoint needs --model, and --save-model needs a network that is warmed up.")
    if model.weights_key and not model.checkpoint:
        raise typer.BadParameter("--weights-key is for --checkpoint.")
    normalised = (model.mean, model.std)
    if any(normalised) and not (all(normalised) and model.model):
        raise typer.BadParameter(
            "--mean and --std go together and are for the network of --model: the built-in networks take images in [0, 1]."
        )
    if passes.precision not in PRECISIONS:
        raise typer.BadParameter(f"--precision is {' or '.join(PRECISIONS)}, got {passes.precision!r}.")
    share = pool.validation or 0.0
    if share > 1 and share != int(share):
        raise typer.BadParameter("--validation is a share below 1, or a whole number of images.")

    from coreselect.cli.select_run import Request, run

    budget = count if fraction is None else fraction
    assert budget is not None  # one of the two is given
    run(Request(out, pool, size, selector or "rcs", budget, method, rcs, warmup, model, attack, passes, seed or 0, machine, arrays),
        json=json)  # fmt: skip

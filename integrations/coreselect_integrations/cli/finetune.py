"""`coreselect finetune`: from a pre-trained extractor to a classifier, or by pseudo-labels to a better extractor."""

from pathlib import Path
from typing import Annotated

import typer

from coreselect.cli.option_records import Shown, Smallest, takes_records
from coreselect.cli.options import ANY_DEVICE, FROM, AttackOptions, DataOptions, Json, MachineOptions, Seed
from coreselect_integrations.cli.options import MODE_NAMES, Flip, RunFolder, TrainingOptions

ALL = (*MODE_NAMES, "autolora", "lpaft")
ATTACKED = ("alf", "aff", "autolora", "lpaft")


@takes_records
def finetune(
    mode: Annotated[str, typer.Argument(help=f"{', '.join(ALL)}.")],
    from_: Annotated[Path, FROM],
    out: RunFolder,
    images: DataOptions = DataOptions(),
    json: Json = False,
    training: Annotated[
        TrainingOptions,
        Shown(epochs="as published", batch_size="as published", lr="as published; not for lpaft"),
        Smallest(batch_size=2),
    ] = TrainingOptions(precision="fp32"),
    attack: Annotated[
        AttackOptions, Shown(radius="8/255", attack_steps="10, of a quarter of the radius"), Smallest(attack_steps=1)
    ] = AttackOptions(),
    clusters: Annotated[
        int | None, typer.Option(min=2, help="lpaft: number of pseudo-classes.", show_default="10")
    ] = None,
    dual_bn: Annotated[bool, typer.Option("--dual-bn", help="lpaft: keep two routes, for aff.")] = False,
    rank: Annotated[int | None, typer.Option(min=1, help="autolora: rank of the branch.", show_default="8")] = None,
    flip: Annotated[Flip, Shown(flip="images of more than one channel")] = None,
    seed: Seed = 0,
    machine: Annotated[MachineOptions, Shown(device=ANY_DEVICE)] = MachineOptions(),
) -> None:
    """Fine-tune a pre-trained network on labelled images, and keep the result in a folder.

    slf and alf train a linear head on the frozen extractor: slf on natural images,
    alf on attacked images. sff and aff train the whole network in the same two
    ways. autolora adds a low-rank branch for natural images.

    lpaft, the ++ of DynACL++, trains on clusters of the extractor's own features.
    Its result is an extractor again.

    If fine-tuning is interrupted, the same command continues after its last epoch.
    """
    if mode not in ALL:
        raise typer.BadParameter(f"no way of fine-tuning is called {mode!r}; there are {', '.join(ALL)}.")
    if training.precision not in ("fp32", "bf16"):
        raise typer.BadParameter(f"--precision is one of fp32, bf16, got {training.precision!r}.")
    own = (
        ("lpaft", mode == "lpaft", {"--clusters": clusters, "--dual-bn": dual_bn or None}),
        ("autolora", mode == "autolora", {"--rank": rank}),
        (
            "alf, aff, autolora and lpaft",
            mode in ATTACKED,
            {"--radius": attack.radius, "--attack-steps": attack.attack_steps},
        ),
        ("modes of one training", mode != "lpaft", {"--lr": training.lr}),
    )
    for owners, has_effect, options in own:
        lost = [name for name, value in options.items() if value is not None]
        if lost and not has_effect:
            raise typer.BadParameter(f"{', '.join(lost)} would be without effect on {mode}: it is for {owners}.")
    for wrong, why in (
        (training.lr == 0, "--lr is above 0."),
        (attack.radius == 0, "--radius 0 leaves the attack no room: take slf or sff, which have none."),
        (mode == "lpaft" and training.epochs == 1, "lpaft trains twice: --epochs is 2 or more."),
    ):
        if wrong:
            raise typer.BadParameter(why)

    from coreselect_integrations.cli.finetune_run import Request, run

    run(
        Request(
            mode, from_, out, images, training, attack, clusters or 10, dual_bn, rank or 8, flip, seed or 0, machine
        ),
        json=json,
    )

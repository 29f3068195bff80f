"""`coreselect finetune`: from a pre-trained extractor to a classifier, or by pseudo-labels to a better extractor."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from coreselect.cli.option_records import Shown, Smallest, takes_records
from coreselect.cli.options import (
    ANY_DEVICE,
    FROM,
    AttackOptions,
    DataOptions,
    Json,
    MachineOptions,
    OwnModelOptions,
    Seed,
)
from coreselect_integrations.cli.finetune_options import EvaluationOptions, SemiOptions, TuningOptions
from coreselect_integrations.cli.options import MODE_NAMES, Flip, KeepEvery, Preset, RunFolder, TrainingOptions

AUTOLORA = ("autolora", "autolora-slf", "autolora-alf")
ALL = (*MODE_NAMES, *AUTOLORA, "semi", "lpaft")
PAPERS = ("slf", "alf", "aff")  # the modes of the papers' tables: `all`
ATTACKED = ("alf", "aff", *AUTOLORA, "semi", "lpaft")
TRAINED_TWICE = ("semi", "lpaft")
TEACHERS = ("sff", "slf")  # of semi
EVALUATIONS = ("none", "pgd20", "autoattack", "corruptions")


@takes_records
def finetune(
    mode: Annotated[
        str, typer.Argument(help=f"{', '.join(ALL)}; several separated by commas; all: {','.join(PAPERS)}.")
    ],
    from_: Annotated[list[Path] | None, FROM, Shown(from_="--model and --checkpoint")] = None,
    out: RunFolder = Path("out/finetune"),
    images: DataOptions = DataOptions(),
    own: OwnModelOptions = OwnModelOptions(),
    json: Json = False,
    evaluation: EvaluationOptions = EvaluationOptions(),
    preset: Annotated[Preset, Shown(preset="what fits the network and the data")] = None,
    training: Annotated[
        TrainingOptions,
        Shown(epochs="as published", batch_size="as published", lr="as published; not for semi and lpaft"),
        Smallest(batch_size=2),
    ] = TrainingOptions(precision="fp32"),
    tuning: Annotated[
        TuningOptions,
        Shown(
            crop="pad; resized from 160 pixels on",
            curve="as published",
            milestones="as published",
            weight_decay="as published",
        ),
    ] = TuningOptions(),
    attack: Annotated[
        AttackOptions, Shown(radius="8/255", attack_steps="10, of a quarter of the radius"), Smallest(attack_steps=1)
    ] = AttackOptions(),
    clusters: Annotated[
        int | None, typer.Option(min=2, help="lpaft: number of pseudo-classes.", show_default="10")
    ] = None,
    dual_bn: Annotated[bool, typer.Option("--dual-bn", help="lpaft: keep two routes, for aff.")] = False,
    semi: SemiOptions = SemiOptions(),
    rank: Annotated[int | None, typer.Option(min=1, help="autolora: rank of the branch.", show_default="8")] = None,
    flip: Annotated[Flip, Shown(flip="images of more than one channel")] = None,
    seed: Seed = 0,
    keep_every: KeepEvery = 1,
    machine: Annotated[MachineOptions, Shown(device=ANY_DEVICE)] = MachineOptions(),
) -> None:
    """Fine-tune a pre-trained network on labelled images, and keep the result in a folder.

    slf and alf train a linear head on the frozen extractor: slf on natural
    images, alf on attacked images. sff and aff train the whole network in the
    same two ways. autolora adds a low-rank branch for natural images;
    autolora-slf and autolora-alf train a linear head and set its rate by
    held-out images.

    semi trains the whole network under attack with few labels: a network that is
    fine-tuned on these gives pseudo-labels to all other images.

    lpaft, the ++ of DynACL++, trains on clusters of the extractor's own features.
    Its result is an extractor again.

    Several modes, several --from or --eval make a whole evaluation: every
    network is fine-tuned in every mode and measured on the test images. The
    accuracies are printed as in the papers' tables and kept in results.json.

    If fine-tuning is interrupted, the same command continues after its last
    epoch.
    """
    modes = tuple(dict.fromkeys(PAPERS if mode == "all" else (word.strip() for word in mode.split(","))))
    unknown = [word for word in modes if word not in ALL]
    if unknown:
        raise typer.BadParameter(f"no way of fine-tuning is called {unknown[0]!r}; there are {', '.join(ALL)} and all.")
    check_options_of_networks(from_ or (), own)
    tables = len(modes) > 1 or len(from_ or ()) > 1 or evaluation.eval is not None
    if tables and "lpaft" in modes:
        raise typer.BadParameter(
            "lpaft makes an extractor, which has no accuracy: run it alone, and fine-tune its result."
        )
    _check_effect(mode, modes, training, tuning, attack, clusters, dual_bn, rank, preset, semi)
    evaluations = _evaluations(evaluation, tables=tables)

    from coreselect_integrations.cli.finetune_run import Request, run

    requests = [
        Request(
            m,
            path,
            out,
            images,
            training,
            attack,
            clusters or 10,
            dual_bn,
            rank or 8,
            flip,
            seed or 0,
            machine,
            tuning,
            preset,
            semi,
            own,
            keep_every,
        )
        for path in from_ or (own.checkpoint or Path(own.model or ""),)
        for m in modes
    ]
    if not tables:
        run(requests[0], json=json)
        return
    from coreselect_integrations.cli.finetune_tables_run import run as run_all

    run_all(requests, evaluations, evaluation, json=json)


def check_options_of_networks(from_: Sequence[Path], own: OwnModelOptions) -> None:
    """Refuse a command line that names no network, or --checkpoint beside --from.

    Raises:
        typer.BadParameter: it does.
    """
    if not from_ and own.model is None:
        raise typer.BadParameter("give --from, or --model with a network of yours.")
    if own.checkpoint is not None and (from_ or own.model is None):
        raise typer.BadParameter("--checkpoint has the weights of --model, in place of --from.")
    from coreselect_integrations.cli.own_network import check_own

    check_own(own)


def _check_effect(
    mode: str, modes: tuple[str, ...], training: TrainingOptions, tuning: TuningOptions, attack: AttackOptions,
    clusters: int | None, dual_bn: bool, rank: int | None, preset: str | None, semi: SemiOptions,
) -> None:  # fmt: skip
    """Refuse options that have no effect on any of the modes, or make no sense."""
    from coreselect.support.factories import is_spec

    plain = {"--weight-decay": tuning.weight_decay, "--curve": tuning.curve, "--milestones": tuning.milestones}
    one_of_ours = tuning.loss is not None and not is_spec(tuning.loss)
    own = (
        ("lpaft", {"lpaft"}, {"--clusters": clusters, "--dual-bn": dual_bn or None}),
        ("semi", {"semi"}, {"--labelled": semi.labelled, "--teacher": semi.teacher}),
        ("autolora", {"autolora"}, {"--rank": rank}),
        ("aff", {"aff"}, {"--loss": tuning.loss if one_of_ours else None}),
        ("alf, aff, autolora, semi and lpaft", {*ATTACKED}, {"--radius": attack.radius}),
        ("modes that train under attack", {*ATTACKED} - {"autolora-slf"}, {"--attack-steps": attack.attack_steps}),
        (", ".join(MODE_NAMES), {*MODE_NAMES}, {**plain, "--preset": preset, "--loss": tuning.loss}),
        ("modes of one training", {*ALL} - {*TRAINED_TWICE}, {"--lr": training.lr}),
    )
    for owners, able, options in own:
        lost = [name for name, value in options.items() if value is not None]
        if lost and not able & {*modes}:
            raise typer.BadParameter(f"{', '.join(lost)} would be without effect on {mode}: it is for {owners}.")
    for wrong, why in (
        (training.lr == 0, "--lr is above 0."),
        (tuning.crop not in (None, "pad", "resized"), f"--crop is pad or resized, got {tuning.crop!r}."),
        (attack.radius == 0, "--radius 0 leaves the attack no room: take slf or sff, which have none."),
        ({*modes} & {*TRAINED_TWICE} and training.epochs == 1, f"{mode} trains twice: --epochs is 2 or more."),
        (semi.labelled == 0, "--labelled is above 0: a share below 1, or a count."),
        (
            semi.labelled is not None and semi.labelled > 1 and semi.labelled % 1,
            "--labelled is a share below 1, or a whole number of images.",
        ),
        (semi.teacher not in (None, *TEACHERS), f"--teacher is {' or '.join(TEACHERS)}, got {semi.teacher!r}."),
        (
            tuning.loss == "fast-at" and attack.attack_steps not in (None, 1),
            "--loss fast-at takes one attack step: leave --attack-steps out.",
        ),
    ):
        if wrong:
            raise typer.BadParameter(why)


def _evaluations(evaluation: EvaluationOptions, *, tables: bool) -> tuple[str, ...]:
    """Read `pgd20,autoattack,corruptions`."""
    given = evaluation.eval
    names = tuple(dict.fromkeys(word.strip() for word in ("pgd20" if given is None else given).split(",")))
    if not {*names} <= {*EVALUATIONS} or ("none" in names and {*names} & {"pgd20", "autoattack"}):
        raise typer.BadParameter(f"--eval is {', '.join(EVALUATIONS[1:])} with commas, or none, got {given!r}.")
    if evaluation.test_rows is not None and not tables:
        raise typer.BadParameter("--test-rows would be without effect: it is for --eval, or several modes or networks.")
    if ("corruptions" in names) != (evaluation.corruptions is not None):
        raise typer.BadParameter("--eval corruptions and --corruptions DIR go together.")
    return names

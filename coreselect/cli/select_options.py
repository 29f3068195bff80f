"""The options that `coreselect select` alone has, in records."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from coreselect.cli.options import (
    ATTACKS,
    FROM,
    METHOD,
    MODEL,
    RUN,
    AttackPrecision,
    BatchSize,
    Capture,
    GroupSize,
    OwnModelOptions,
    ViewsName,
)

ARRAYS = "Arrays instead of a model"


@dataclass(frozen=True)
class ModelOptions(OwnModelOptions):
    """The model whose gradients are compared."""

    from_: Annotated[Path | None, FROM] = None
    mean: Annotated[
        str | None,
        typer.Option(
            help="Means of the channels by which --model expects images normalised: 0.49,0.48,0.45, or one number. Images stay "
            "in [0, 1], and the model normalises.",
            rich_help_panel=MODEL,
        ),
    ] = None
    std: Annotated[
        str | None,
        typer.Option(help="Standard deviations of the channels, as --mean.", rich_help_panel=MODEL),
    ] = None
    head: Annotated[
        str | None,
        typer.Option(help="Name of the module that is the head.", show_default="found", rich_help_panel=MODEL),
    ] = None
    capture: Capture = None
    views: ViewsName = None
    attack_at: Annotated[
        str | None,
        typer.Option(
            help="Submodule whose output is attacked in place of the inputs, such as embeddings. --radius is in its units.",
            rich_help_panel=ATTACKS,
        ),
    ] = None
    warmup_attack_steps: Annotated[
        int, typer.Option(min=1, help="Attack steps of the warm-up.", rich_help_panel=MODEL)
    ] = 2
    save_model: Annotated[
        Path | None, typer.Option(help="Write the weights of the warmed-up network here.", rich_help_panel=MODEL)
    ] = None


@dataclass(frozen=True)
class MethodOptions:
    """Settings of the method; all but `per_class`, `balance` and `window` are read by rcs, `objective` also by rcs_sampled."""

    per_class: Annotated[
        bool, typer.Option("--per-class", help="Choose in each class separately.", rich_help_panel=METHOD)
    ] = False
    balance: Annotated[
        str | None,
        typer.Option(
            help="Choose equal shares of labels, or of clusters of the network's features; with rs2 or random, a balanced draw.",
            rich_help_panel=METHOD,
        ),
    ] = None
    window: Annotated[
        str | None,
        typer.Option(
            help="Choose window by window: 100x512 (100 batches of 512, which rcs takes as its groups), or a number of examples.",
            rich_help_panel=METHOD,
        ),
    ] = None
    objective: Annotated[
        str,
        typer.Option(
            help="What a selection lowers: rd, js or ot (RD by KL, JS or optimal transport), adversarial_ce or ce_plus_rd.",
            rich_help_panel=METHOD,
        ),
    ] = "rd"
    divergence: Annotated[
        str | None,
        typer.Option(
            help="Divergence of RD: kl, js or ot.", show_default="that of --objective, or kl", rich_help_panel=METHOD
        ),
    ] = None
    group_size: GroupSize = None
    stratify: Annotated[
        str,
        typer.Option(help="What balances the groups: auto, labels, clusters or none.", rich_help_panel=METHOD),
    ] = "auto"
    recraft: Annotated[
        str,
        typer.Option(
            help="When the held-out images are attacked: once; halfway, again; every, after each pick; or after a number.",
            rich_help_panel=METHOD,
        ),
    ] = "once"
    search: Annotated[
        str,
        typer.Option(
            help="Search for the best group: auto, exact, faiss or sharded (under torchrun each rank keeps its rows), which "
            "pick the same; or an approximation, candidates=4096x64 (score 4096 rows, all of them every 64 picks), blocks=64 "
            "(64 picks by one query) or greedi=8 (pick in 8 parts of the groups, then among their picks).",
            rich_help_panel=METHOD,
        ),
    ] = "auto"
    sketch: Annotated[
        int | None, typer.Option(min=1, help="Width to which gradients are projected.", rich_help_panel=METHOD)
    ] = None
    certify: Annotated[
        str, typer.Option(help="Certificate: instance, paper, sampled or none.", rich_help_panel=METHOD)
    ] = "instance"
    sigma: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            help="σ of Theorem 2, for --certify paper.",
            show_default="1, the best case",
            rich_help_panel=METHOD,
        ),
    ] = None
    lipschitz: Annotated[
        str | None,
        typer.Option(
            help="Lipschitz constants that give σ: L1,L2 of RD and training loss, L3,L4 of their gradients, and M, the number "
            "of held-out images.",
            rich_help_panel=METHOD,
        ),
    ] = None


@dataclass(frozen=True)
class PassOptions:
    """How the passes over the images are run."""

    precision: AttackPrecision = None
    batch_size: BatchSize = None


DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Time the first batches, print what the work would cost, and do nothing else.",
        rich_help_panel=RUN,
    ),
]


@dataclass(frozen=True)
class WorkOptions:
    """What is kept of the work, and whether it is done at all."""

    store: Annotated[
        Path | None,
        typer.Option(
            help="Folder that keeps the pass over the pool, batch by batch: after a kill, the same command goes on there.",
            rich_help_panel=RUN,
        ),
    ] = None
    dry_run: DryRun = False


@dataclass(frozen=True)
class ArrayOptions:
    """Arrays that take the place of a model."""

    features: Annotated[Path | None, typer.Option(help="Features, .npy [N, D].", rich_help_panel=ARRAYS)] = None
    gradients: Annotated[
        Path | None,
        typer.Option(help="Gradients, .npy [N, P], or [M, P] with --groups.", rich_help_panel=ARRAYS),
    ] = None
    validation_gradient: Annotated[
        Path | None,
        typer.Option(help="Gradient of the objective, .npy [P].", rich_help_panel=ARRAYS),
    ] = None
    labels: Annotated[Path | None, typer.Option(help="Labels, .npy [N].", rich_help_panel=ARRAYS)] = None
    groups: Annotated[
        Path | None,
        typer.Option(help="Group of each example, .npy [N].", rich_help_panel=ARRAYS),
    ] = None

"""The options that `coreselect train` alone has, in records. A value of None means the published setting."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from coreselect.cli.options import ATTACKS, FROM, Capture, Fraction, GroupSize, Selector
from coreselect_integrations.cli.options import (
    CORESET,
    OPTIMISER,
    TRAINING,
    Crop,
    Flip,
    Milestones,
    Optimiser,
    WeightDecay,
)

CONTRASTIVE = "Contrastive systems"


@dataclass(frozen=True)
class ImageOptions:
    """The first layer of the network, and how images are cut and mirrored."""

    stem: Annotated[
        str | None,
        typer.Option(help="First layer of a ResNet: cifar (3×3) or imagenet (7×7).", rich_help_panel=TRAINING),
    ] = None
    crop: Crop = None
    flip: Flip = None


@dataclass(frozen=True)
class StartOptions:
    """With which weights training begins, and what is kept and measured on the way."""

    from_: Annotated[Path | None, FROM] = None
    snapshot_every: Annotated[
        int | None,
        typer.Option(
            min=1, help="Keep the network after every N epochs.", show_default="never", rich_help_panel=TRAINING
        ),
    ] = None
    probe_every: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Contrastive systems: after every N epochs, measure a linear probe on held-out images, natural and attacked.",
            show_default="never",
            rich_help_panel=TRAINING,
        ),
    ] = None


@dataclass(frozen=True)
class CoresetOptions:
    """What is selected, and from which gradients; or a selection that was made before."""

    coreset: Annotated[
        Path | None,
        typer.Option(
            help="Index file (.npz, .json) of a selection of these data, to be trained on from the first epoch."
        ),
    ] = None
    selector: Selector = None
    fraction: Fraction = None
    capture: Capture = None
    group_size: GroupSize = None
    align: Annotated[
        str | None,
        typer.Option(
            help="Count --every from the warmup, or absolute: from epoch 0, as in Algorithm 2 of RCS.",
            show_default="warmup",
            rich_help_panel=CORESET,
        ),
    ] = None
    select_batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Images in one forward pass of a selection.",
            show_default="256, or 64 on a CPU",
            rich_help_panel=CORESET,
        ),
    ] = None


@dataclass(frozen=True)
class TradesOptions:
    """What the loss of TRADES needs."""

    beta: Annotated[float | None, typer.Option(min=0.0, help="β of TRADES.", rich_help_panel=ATTACKS)] = None


@dataclass(frozen=True)
class OptimiserOptions:
    """The optimiser, and what the curves of its rate need."""

    optimiser: Optimiser = None
    weight_decay: WeightDecay = None
    momentum: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Momentum.", rich_help_panel=OPTIMISER)] = (
        None
    )
    lr_warmup: Annotated[
        int | None,
        typer.Option(min=0, help="Epochs in which the rate rises; for the curve cosine.", rich_help_panel=OPTIMISER),
    ] = None
    milestones: Milestones = None


@dataclass(frozen=True)
class ContrastiveOptions:
    """Settings of the contrastive systems."""

    projection: Annotated[
        int | None, typer.Option(help="Layers of the projection head: 2 or 3.", rich_help_panel=CONTRASTIVE)
    ] = None
    temperature: Annotated[
        float | None, typer.Option(help="Temperature of NT-Xent or MoCo.", rich_help_panel=CONTRASTIVE)
    ] = None
    interval: Annotated[
        int | None,
        typer.Option(min=1, help="DynACL: epochs between two strengths of augmentation.", rich_help_panel=CONTRASTIVE),
    ] = None
    rate: Annotated[float | None, typer.Option(help="DynACL: λ of its weight.", rich_help_panel=CONTRASTIVE)] = None
    key_momentum: Annotated[
        float | None,
        typer.Option(
            help="Momentum of the second encoder of moco, byol, acl or dynacl; 0 for none in the last two.",
            rich_help_panel=CONTRASTIVE,
        ),
    ] = None
    queue: Annotated[
        int | None, typer.Option(min=1, help="MoCo: old keys that serve as negatives.", rich_help_panel=CONTRASTIVE)
    ] = None
    sir: Annotated[float | None, typer.Option(min=0.0, help="AIR: λ₁.", rich_help_panel=CONTRASTIVE)] = None
    air: Annotated[float | None, typer.Option(min=0.0, help="AIR: λ₂.", rich_help_panel=CONTRASTIVE)] = None
    form: Annotated[str | None, typer.Option(help="AIR: kl, paper or published.", rich_help_panel=CONTRASTIVE)] = None

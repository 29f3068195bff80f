"""The options that `coreselect finetune` alone has, in records. A value of None means the published setting."""

from dataclasses import dataclass
from typing import Annotated

import typer

from coreselect_integrations.cli.options import TRAINING, Corruptions, Crop, CurveName, Milestones, WeightDecay


@dataclass(frozen=True)
class TuningOptions:
    """The curve of the rate, the weight decay, random crops, and the loss of adversarial full fine-tuning."""

    loss: Annotated[
        str | None,
        typer.Option(
            help="A loss of yours, file.py:loss. aff: or trades, sat (cross-entropy of attacked images), fast-at (with one step).",
            show_default="as published: trades, or sat after ImageNet-32",
            rich_help_panel=TRAINING,
        ),
    ] = None
    crop: Crop = None
    weight_decay: WeightDecay = None
    curve: CurveName = None
    milestones: Milestones = None


@dataclass(frozen=True)
class SemiOptions:
    """How much is labelled in semi-supervised training, and what gives the pseudo-labels."""

    labelled: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="semi: labelled images, a share below 1 or a count, as many of each class.",
            show_default="0.1",
        ),
    ] = None
    teacher: Annotated[
        str | None,
        typer.Option(help="semi: pseudo-labels by sff, as published, or slf, a linear head.", show_default="sff"),
    ] = None


@dataclass(frozen=True)
class EvaluationOptions:
    """What is measured after fine-tuning."""

    eval: Annotated[
        str | None,
        typer.Option(
            help="Measure on test images: pgd20, autoattack, corruptions, separated by commas; or none.",
            show_default="pgd20, for several modes or networks",
        ),
    ] = None
    corruptions: Corruptions = None
    test_rows: Annotated[int | None, typer.Option(min=1, help="Use only the first N test images.")] = None

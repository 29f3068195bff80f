"""The options that `coreselect compare` alone has, in records."""

from dataclasses import dataclass
from typing import Annotated

import typer

from coreselect_integrations.cli.options import MODE_NAMES, Milestones, Optimiser, Preset, Selectors, WeightDecay

EVALUATION = "Evaluation"


@dataclass(frozen=True)
class StudyOptions:
    """The trainings that are compared."""

    preset: Preset = None
    optimiser: Optimiser = None
    weight_decay: WeightDecay = None
    milestones: Milestones = None

    selectors: Selectors = "rcs,rs2,redraw,random"
    fractions: Annotated[str, typer.Option(help="Shares of the pool, separated by commas.")] = "0.1"
    seeds: Annotated[str, typer.Option(help="Number of seeds, from 0 on; or a range: 3:6 is 3, 4 and 5.")] = "3"
    chosen_on: Annotated[
        str | None,
        typer.Option(
            help="Seeds on which settings were chosen, as in --seeds; p is then of the other seeds.",
            show_default="none named",
        ),
    ] = None
    equal: Annotated[str, typer.Option(help="What is equal: epochs, time, or both with a comma.")] = "epochs"
    full: Annotated[bool, typer.Option(help="Also train on the whole pool, to report the speed-up.")] = True


@dataclass(frozen=True)
class EvaluationOptions:
    """How the trained networks are evaluated, and which time is reported."""

    judged: Annotated[
        str | None,
        typer.Option(
            help=f"What is evaluated: trained (as it was trained), or fine-tuned by {', '.join(MODE_NAMES)}; separated by commas.",
            show_default="trained, or slf,alf for contrastive systems",
            rich_help_panel=EVALUATION,
        ),
    ] = None
    tuning_epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Epochs of fine-tuning.", show_default="5", rich_help_panel=EVALUATION),
    ] = None
    tuning_rows: Annotated[
        int | None,
        typer.Option(min=2, help="Images for fine-tuning.", show_default="all", rich_help_panel=EVALUATION),
    ] = None
    transfer: Annotated[
        str | None,
        typer.Option(help="Another dataset to fine-tune and evaluate on as well.", rich_help_panel=EVALUATION),
    ] = None
    also: Annotated[
        str | None,
        typer.Option(
            help="More accuracies, separated by commas: margin (PGD-20 on the logits), autoattack, corruptions (the 15).",
            rich_help_panel=EVALUATION,
        ),
    ] = None
    test_rows: Annotated[
        int | None,
        typer.Option(min=1, help="Use only the first N test images.", rich_help_panel=EVALUATION),
    ] = None
    clock: Annotated[
        str,
        typer.Option(
            help="Which seconds count: wall, or cpu: processor seconds, for a busy machine.",
            rich_help_panel=EVALUATION,
        ),
    ] = "wall"

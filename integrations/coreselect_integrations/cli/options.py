"""The options that several training commands have: each is declared here once, with one help text.

A value of None means the default of the command, which its help shows.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from coreselect.cli.options import RUN, Arch, BatchSize, LossName, OwnModelOptions, Precision, ViewsName

TRAINING, CORESET, OPTIMISER = "Training", "Coreset", "Optimiser"  # panels of the help
SYSTEM_NAMES = ("standard", "sat", "trades", "fast-at", "cl", "moco", "byol", "acl", "dynacl", "acl-air", "dynacl-air")
FULL = "full"  # of the steps of an attack
MODE_NAMES = ("slf", "alf", "sff", "aff")

RunFolder = Annotated[Path, typer.Option(help="Folder of the run. A run that is already there is continued.")]
KeepEvery = Annotated[
    int,
    typer.Option(
        min=1,
        help="Epochs between two checkpoints; a killed run trains those since the last again.",
        rich_help_panel=RUN,
    ),
]
Selectors = Annotated[
    str, typer.Option(help="Methods, separated by commas, such as rcs,rs2, rcs:eta=0.05 or rcs+redraw.")
]
Optimiser = Annotated[str | None, typer.Option(help="sgd or lars.", rich_help_panel=OPTIMISER)]
Flip = Annotated[bool | None, typer.Option(help="Mirror images at random.", rich_help_panel=TRAINING)]
Crop = Annotated[
    str | None,
    typer.Option(
        help="Random crops: pad (shifted, with zeros) or resized (a part of the image).", rich_help_panel=TRAINING
    ),
]
WeightDecay = Annotated[float | None, typer.Option(min=0.0, help="Weight decay.", rich_help_panel=OPTIMISER)]
Milestones = Annotated[
    str | None,
    typer.Option(
        help="Epochs at which the rate falls to a tenth, such as 75,90; for the curve stairs.",
        rich_help_panel=OPTIMISER,
    ),
]
CurveName = Annotated[
    str | None,
    typer.Option(
        help="Curve of the learning rate: cosine, triangle, constant or (train, finetune) stairs.",
        rich_help_panel=OPTIMISER,
    ),
]
Corruptions = Annotated[
    str | None,
    typer.Option(
        help="Folder in the format of CIFAR-10-C; or ours: the 15 corruptions, made of the test images of --data."
    ),
]
LearningRate = Annotated[
    float | None, typer.Option(min=0.0, help="Learning rate at its peak.", rich_help_panel=OPTIMISER)
]
Trainer = Annotated[
    str | None,
    typer.Option(
        help=f"Training system: {', '.join(SYSTEM_NAMES)}; or a loop of one epoch of yours, file.py:train.",
        show_default="of --preset, or sat",
    ),
]
Preset = Annotated[str | None, typer.Option(help="Published settings, such as cifar10-acl or imagenet32-sat.")]


def epochs_in(text: str) -> tuple[int, ...]:
    """Read `75,90`.

    Raises:
        typer.BadParameter: it is no list of growing whole numbers above 0.
    """
    words = [word.strip() for word in text.split(",")]
    found = tuple(int(word) for word in words if word.isdigit())
    if len(found) != len(words) or list(found) != sorted({*found}) or not found or found[0] < 1:
        raise typer.BadParameter(f"--milestones are growing epochs with commas, such as 75,90, got {text!r}.")
    return found


def _attack_steps(text: str | None) -> str | None:
    """Accept a count of steps, or the word for all of them."""
    if text is not None and text != FULL and not (text.isascii() and text.isdigit()):
        raise typer.BadParameter(f"a number of steps is needed, or {FULL}, got {text!r}.")
    return text


@dataclass(frozen=True)
class TrainingOptions:
    """How long and how fast a network is trained."""

    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs in all.", rich_help_panel=TRAINING)] = None
    batch_size: BatchSize = None
    lr: LearningRate = None
    precision: Precision = None


@dataclass(frozen=True)
class OwnModelAndViews(OwnModelOptions):
    """A network and views of the user's."""

    views: ViewsName = None


@dataclass(frozen=True)
class OwnOptions(OwnModelAndViews):
    """A network, views and a loss of the user's."""

    loss: LossName = None


@dataclass(frozen=True)
class NetworkOptions:
    """The network that is pre-trained, and the curve of its learning rate."""

    arch: Arch = None
    curve: CurveName = None


@dataclass(frozen=True)
class ScheduleOptions:
    """When coresets are selected, and under which attack."""

    warmup: Annotated[
        int | None,
        typer.Option(min=0, help="Epochs on the whole pool before the first selection.", rich_help_panel=CORESET),
    ] = None
    every: Annotated[
        int | None, typer.Option(min=1, help="Epochs between two selections.", rich_help_panel=CORESET)
    ] = None
    select_attack_steps: Annotated[
        str | None,
        typer.Option(
            help="Attack steps when a selection computes gradients, or full: the attack of training.",
            callback=_attack_steps,
            rich_help_panel=CORESET,
        ),
    ] = None

    @property
    def given(self) -> dict[str, Any]:
        """The settings that were given, by name."""
        own = {name: value for name, value in vars(self).items() if value is not None}
        if self.select_attack_steps is not None:
            own["select_attack_steps"] = None if self.select_attack_steps == FULL else int(self.select_attack_steps)
        return own

"""The options that `coreselect race` alone has, in records."""

from dataclasses import dataclass
from typing import Annotated

import typer

from coreselect.cli.options import BatchSize, Precision
from coreselect_integrations.cli.options import LearningRate

RACE = "Race"


@dataclass(frozen=True)
class RaceOptions:
    """What is raced, and for how long."""

    hours: Annotated[
        float, typer.Option(min=0.0, help="Hours in all, the last training included.", rich_help_panel=RACE)
    ] = 1.0
    arms: Annotated[
        str,
        typer.Option(
            help="Methods, separated by commas, such as rs2,rcs, rcs:eta=0.05 or rcs+redraw.",
            rich_help_panel=RACE,
        ),
    ] = "rs2,rcs,craig"
    fractions: Annotated[
        str, typer.Option(help="Shares of the pool, separated by commas; 1 is the whole pool.", rich_help_panel=RACE)
    ] = "0.05,0.1,0.2,1"
    efforts: Annotated[
        str,
        typer.Option(
            help="Training attacks, separated by commas: 5 is five steps within --radius, 1x1.5 one step within 1.5 times that.",
            rich_help_panel=RACE,
        ),
    ] = "1x1.5,2x1.25,5"
    judge_on: Annotated[
        float,
        typer.Option(
            min=0.0,
            help="Labelled training images that judge the networks and train none: a share below 1, or a count.",
            rich_help_panel=RACE,
        ),
    ] = 0.1
    race_share: Annotated[
        float,
        typer.Option(help="Share of the hours in which arms race; the winner gets the rest.", rich_help_panel=RACE),
    ] = 0.5
    halving: Annotated[int, typer.Option(min=2, help="A rung keeps one of N arms.", rich_help_panel=RACE)] = 2
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            help="How many processes share the race: start the same command that many times.",
            rich_help_panel=RACE,
        ),
    ] = 1


@dataclass(frozen=True)
class RaceTrainingOptions:
    """How the networks are trained; how long follows from the hours."""

    batch_size: BatchSize = None
    lr: LearningRate = None
    precision: Precision = None

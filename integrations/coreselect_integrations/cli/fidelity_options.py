"""The options that `coreselect fidelity` alone has, in records."""

from dataclasses import dataclass
from typing import Annotated

import typer

from coreselect.cli.options import METHOD, GroupSize
from coreselect_integrations.cli.options import Selectors


@dataclass(frozen=True)
class ReportOptions:
    """What is measured, and how often."""

    selectors: Selectors = "rcs,random"
    groups: Annotated[int, typer.Option(min=3, help="Random groups on which gains are measured.")] = 32
    sets: Annotated[int, typer.Option(min=2, help="Random sets with which G is compared.")] = 20
    step: Annotated[str, typer.Option(help="Parameters that a step moves and methods read: head or all.")] = "head"


@dataclass(frozen=True)
class RcsMeasuredOptions:
    """Settings of RCS as it is measured."""

    group_size: GroupSize = None
    sketch: Annotated[
        str | None,
        typer.Option(
            help="Widths of sketches to try, separated by commas.",
            show_default="those of 64,512,4096 that save anything",
            rich_help_panel=METHOD,
        ),
    ] = None

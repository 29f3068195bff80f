"""The options of a training attack that may differ from the attack that judges, and the settings that follow from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from coreselect.cli.options import ATTACKS

STARTS = ("uniform", "nfgsm")
WHOLE = 0.999  # of a radius: a walk of so much is a whole one, rounded
TrainRadius = Annotated[
    str | None,
    typer.Option(
        help="Radius of the training attack: a number, or in radii of --radius, such as 1.5x.",
        rich_help_panel=ATTACKS,
    ),
]


@dataclass(frozen=True)
class EffortOptions:
    """What else the attack of training needs; `--radius` is where the network is judged."""

    train_radius: TrainRadius = None
    step: Annotated[
        str | None,
        typer.Option(
            help="Size of an attack step: a number for inputs in [0, 1], or in training radii, such as 1.25x.",
            show_default="as published, scaled with the radius; longer where few steps would not reach it",
            rich_help_panel=ATTACKS,
        ),
    ] = None
    start: Annotated[
        str | None,
        typer.Option(
            help="Start of the training attack: uniform in the ball, or nfgsm (wider noise, nothing projected).",
            rich_help_panel=ATTACKS,
        ),
    ] = None
    guard: Annotated[
        bool | None,
        typer.Option(
            help="Return from catastrophic overfitting, and take one attack step more.",
            show_default="on for one or two steps of supervised systems",
            rich_help_panel=ATTACKS,
        ),
    ] = None

    @property
    def given(self) -> dict[str, Any]:
        """What was given, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


def attack_settings(base: Any, given: Mapping[str, Any], *, usual: bool = False) -> dict[str, Any]:
    """Return the settings of the training attack that options describe; what they leave out keeps its proportions.

    Args:
        base: the settings (`Settings`) that hold where nothing is given.
        given: some of radius, train_radius, step, attack_steps, start and guard.
        usual: whether a number of steps decides their size too (`usual_step`); else it is that of `base`, unless such steps would
            walk less than the radius.
    Raises:
        typer.BadParameter: a value cannot be read.
    """
    from coreselect.errors import RequirementError
    from coreselect_integrations.training.effort import in_radii, usual_step

    own = {name: given[name] for name in ("radius", "attack_steps", "start", "guard") if name in given}
    radius = own.get("radius", base.radius)
    scale = radius / base.radius if base.radius else 1.0
    if own.get("start", STARTS[0]) not in STARTS:
        raise typer.BadParameter(f"--start is {' or '.join(STARTS)}, got {given['start']!r}.")
    try:
        train_radius = None if base.train_radius is None else base.train_radius * scale
        if "train_radius" in given:
            train_radius = in_radii(given["train_radius"], radius, "--train-radius")
        if train_radius is not None:
            own["train_radius"] = train_radius
        reach = radius if train_radius is None else train_radius
        steps = own.get("attack_steps", base.attack_steps)
        scaled = base.step * reach / base.attack_radius if base.attack_radius else base.step
        again = "attack_steps" in given and (usual or steps * scaled < WHOLE * reach)
        if "step" in given:
            own["step"] = in_radii(given["step"], reach, "--step")
        elif again or own.get("start", base.start) != base.start:
            own["step"] = usual_step(reach, steps, own.get("start", base.start))
        elif reach != base.attack_radius:
            own["step"] = scaled or 1.0  # a radius of 0 is refused elsewhere
    except RequirementError as why:
        raise typer.BadParameter(str(why)) from why
    return own

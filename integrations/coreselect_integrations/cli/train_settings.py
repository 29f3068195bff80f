"""The settings that the options of `coreselect train` describe, and the checks of them before any work."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from coreselect import Selector
from coreselect_integrations.cli.effort_options import attack_settings
from coreselect_integrations.cli.option_relevance import SCHEDULE, options, without_effect
from coreselect_integrations.cli.options import epochs_in
from coreselect_integrations.cli.run_progress import counted
from coreselect_integrations.comparison.methods import RUN_SETTINGS, selector_for, settings_for
from coreselect_integrations.pretraining.presets import defaults, preset
from coreselect_integrations.pretraining.settings import SETTING_NAMES, SYSTEMS, Settings


def settings_from(given: Mapping[str, Any], preset_name: str | None) -> Settings:
    """Put the settings together: what was given, else the preset, else the published settings of the system.

    Raises:
        typer.BadParameter: no system is named, or the preset belongs to another system.
    """
    if preset_name is None and "system" not in given:
        raise typer.BadParameter(f"name a system ({', '.join(SYSTEMS)}), or a --preset such as cifar10-acl.")
    base = preset(preset_name) if preset_name is not None else defaults(given["system"])
    if given.get("system", base.system) != base.system:
        raise typer.BadParameter(f"the preset {preset_name} is of {base.system}, not of {given['system']}.")
    own = {name: value for name, value in given.items() if name in SETTING_NAMES}
    if "milestones" in own:
        own["milestones"] = epochs_in(own["milestones"])
    own |= attack_settings(base, given)
    return replace(base.scaled_to(own.get("epochs", base.epochs)), **own)


def selector_named(name: str | None, settings: Settings) -> Selector | None:
    """Make the selector of that name; None for the whole pool."""
    return None if name is None or name == "full" else selector_for(name, settings)


def with_settings_of_selector(words: str, method: Selector, settings: Settings, given: Collection[str]) -> Settings:
    """Return the settings of the run with those that the words of the selector state, such as `rcs:capture=all`.

    Raises:
        typer.BadParameter: an option that was given has no effect, because the words state it.
    """
    run = settings_for(words, settings)
    stated = (*RUN_SETTINGS, "attack_steps", "train_radius", "step", "start")  # the last four by an effort, `rs2@1x1.5`
    lost = [name for name in stated if name in given and getattr(run, name) != getattr(settings, name)]
    if "eta" in given and selector_for(words, replace(settings, eta=settings.eta / 2)) == method:
        lost.append("eta")
    if lost:
        raise typer.BadParameter(f"{options(lost)} would be without effect here: {words} states it.")
    return run


def check(settings: Settings, method: Selector | None, given: Collection[str], *, named: bool) -> None:
    """Refuse a command line that would not do what it says.

    Raises:
        typer.BadParameter: an option has no effect or makes no sense.
    """
    unused, held = without_effect(given, settings, method, named=named), settings.validation
    for wrong, why in (
        (unused, unused),
        (held > 1 and held != int(held), "--validation is a share below 1, or a whole number of images."),
        (method is not None and not settings.fraction, "--fraction is a share of the pool above 0."),
        (
            method is not None and settings.warmup >= settings.epochs,
            f"nothing would be chosen: --warmup is {settings.warmup} of {counted(settings.epochs, 'epoch')} in all, make "
            "it smaller or --epochs larger.",
        ),
        (
            method is not None and settings.first_selection >= settings.epochs,
            f"nothing would be chosen: the first multiple of --every {settings.every} from --warmup {settings.warmup} on is "
            f"{settings.first_selection}, of {counted(settings.epochs, 'epoch')} in all: make --every smaller, or leave out "
            "--align absolute.",
        ),
        (
            not settings.radius,
            "--radius 0 leaves attacks no room: the systems without an attack are standard, cl, moco and byol.",
        ),
    ):
        if wrong:
            raise typer.BadParameter(str(why))


OF_A_SELECTION = (*SCHEDULE, "capture", "eta", "group_size", "rd_steps", "select_batch_size", "pool", "validation_data")


def check_beside_coreset(coreset: Path | None, selector: str | None, given: Collection[str]) -> None:
    """Refuse options of a selection beside one that was made before.

    Raises:
        typer.BadParameter: there are some.
    """
    lost = [name for name in OF_A_SELECTION if name in given]
    lost = [*(["selector"] if selector is not None else []), *lost]
    if coreset is not None and lost:
        raise typer.BadParameter(
            f"{options(lost)} would be without effect with --coreset, which holds what was selected."
        )


def check_probe(settings: Settings, every: int | None) -> None:
    """Refuse a probe that is never measured, or of a network that has a head for its classes.

    Raises:
        typer.BadParameter: it is.
    """
    if every is None:
        return
    if settings.supervised:
        raise typer.BadParameter(
            f"--probe-every is for contrastive systems: {settings.system} trains a head of its own."
        )
    if every > settings.epochs:
        raise typer.BadParameter(f"--probe-every {every} is never reached in {counted(settings.epochs, 'epoch')}.")


def attack_said(settings: Settings) -> str:
    """Say which attack selections use on the pool."""
    steps = settings.select_attack_steps
    if steps is None:
        return "a selection attacks the pool as training does"
    return f"a selection attacks the pool with {counted(steps, 'step')}; --select-attack-steps full is the attack of training"


def notes(settings: Settings) -> Iterator[str]:
    """Say which settings were published for long runs and do not suit this short one."""
    attack, system = settings.attack, SYSTEMS[settings.system]
    if settings.curve == "cosine" and settings.lr_warmup >= settings.epochs:
        yield f"the rate rises for {settings.lr_warmup} epochs and so never reaches --lr: lower --lr-warmup."
    if system.dynamic and settings.interval >= settings.epochs:
        yield f"the views never weaken, as {settings.interval} epochs pass between strengths: lower --interval."
    if attack is not None and attack.steps * attack.step < 0.999 * attack.radius:
        yield f"the attack walks {attack.steps * attack.step:.3g} in all, less than its radius {attack.radius:.3g}: raise --step."

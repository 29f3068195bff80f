"""`coreselect convert` for networks: a published checkpoint becomes a file of our own, with what is known of its training."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from coreselect.errors import DataError
from coreselect.io.atomic import check_target
from coreselect_integrations.networks import ROUTES, Reading, network_file, open_network, restore, save_network
from coreselect_integrations.pretraining.presets import preset as preset_named
from coreselect_integrations.pretraining.trained import likely_preset


def convert_network(
    source: Path,
    target: Path,
    *,
    part: str | None = None,
    prefix: str | None = None,
    routes: str | None = None,
    size: int | None = None,
    mean: str | None = None,
    std: str | None = None,
    preset: str | None = None,
) -> dict[str, Any]:
    """Read a published network, write it as `save_network` does, and print what was recognised.

    Args:
        source, target: the files.
        part, prefix, size: see `networks.Reading`.
        routes: `natural,adversarial` or `adversarial,natural`.
        mean, std: numbers separated by commas.
        preset: how the network was trained; None takes what fits it.
    Returns:
        the number of tensors, the preset, what was recognised, in words, and the network.
    Raises:
        DataError, UnknownNameError: the file cannot be read, or no preset has this name.
        typer.BadParameter: an option cannot be read, or the preset trains another kind of network.
    """
    source = network_file(source)
    check_target(target)
    if (mean is None) != (std is None):
        raise typer.BadParameter("--mean and --std go together.")
    settings = None if preset is None else preset_named(preset)
    order = _routes(routes)
    how = Reading(part, prefix, order, size, _numbers(mean, "--mean"), _numbers(std, "--std"))
    saved, lines = open_network(source, how)
    if not lines:
        raise DataError(f"{source} is a file of coreselect already: use it as it is.")
    name = preset or likely_preset(saved.spec)
    settings = settings or preset_named(name)
    if (settings.arch, settings.supervised) != (saved.spec.arch, saved.spec.projection is None) and preset is not None:
        kind = "a classifier" if settings.supervised else "an encoder with a projection head"
        raise typer.BadParameter(f"--preset {preset} trains {settings.arch} as {kind}: {source} holds another network.")
    save_network(target, restore(saved), saved.spec, {**asdict(settings), **saved.about, "arch": saved.spec.arch})
    for line in (
        *lines,
        f"taken as trained under the preset {name}; give --preset if it was not" if preset is None else "",
    ):
        if line:
            typer.echo(line, err=True)
    return {"tensors": len(saved.weights), "preset": name, "recognised": list(lines), "network": asdict(saved.spec)}


def _routes(text: str | None) -> tuple[str, str] | None:
    """Read `natural,adversarial`."""
    if text is None:
        return None
    words = tuple(word.strip() for word in text.split(","))
    if sorted(words) != sorted(ROUTES):
        raise typer.BadParameter(f"--routes is {','.join(ROUTES)} or the reverse, got {text!r}.")
    return words[0], words[1]


def _numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """Read `0.49,0.48,0.45`."""
    try:
        return None if text is None else tuple(float(word) for word in text.split(","))
    except ValueError as why:
        raise typer.BadParameter(f"{option} are numbers separated by commas, got {text!r}.") from why

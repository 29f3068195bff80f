"""The code of the user's that options name, for every command: one way to admit it, and one to open a network."""

from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Any

import typer

from coreselect.cli.options import OwnModelOptions
from coreselect.io.weights_file import find_weights, put_weights
from coreselect.support.factories import is_spec
from coreselect_integrations.cli.checks_before_work import network_at
from coreselect_integrations.cli.options import OwnOptions
from coreselect_integrations.networks import NetworkSpec, Saved, make, spec_for
from coreselect_integrations.networks.checkpoint import read_checkpoint
from coreselect_integrations.own_code import admit
from coreselect_integrations.pretraining.dataset_shape import image_shape


def check_own(own: OwnModelOptions, from_: Path | None = None, arch: str | None = None) -> None:
    """Refuse options of a network that do not go together.

    Raises:
        typer.BadParameter: they do not.
    """
    for wrong, why in (
        (own.model and arch, "--arch and --model name two networks: give one."),
        (own.checkpoint and not own.model, "--checkpoint needs --model; --from begins with a file of a known network."),
        (own.checkpoint and from_, "--checkpoint and --from give two sets of weights: give one."),
        (own.routes and not own.model, "--routes is for --model."),
        (own.weights_key and not own.checkpoint, "--weights-key is for --checkpoint."),
    ):
        if wrong:
            raise typer.BadParameter(why)


def own_settings(own: OwnOptions, known_losses: Collection[str] = ()) -> dict[str, Any]:
    """Admit the user's code, and return the settings of training that name it; only those that were given.

    Args:
        known_losses: names of losses that --loss takes too, and that are left to the command.
    Raises:
        typer.BadParameter: --loss is no code.
        DataError, UnknownNameError: there is no such code.
    """
    found: dict[str, Any] = {}
    if own.model is not None:
        found |= {"arch": admit(own.model, "model")} | ({} if own.routes is None else {"routes": own.routes})
    if own.loss is not None and own.loss not in known_losses:
        if not is_spec(own.loss):
            raise typer.BadParameter(
                f"--loss is a loss of yours here, file.py:loss, got {own.loss!r}: name a system for the others."
            )
        found["own_loss"] = admit(own.loss, "loss")
    if own.views is not None:
        found["own_views"] = admit(own.views, "views")
    return found


def own_trainer(trainer: str | None) -> tuple[str | None, dict[str, Any]]:
    """Return the system that --trainer names, or None and the setting that names a loop of the user's."""
    if trainer is None or not is_spec(trainer):
        return trainer, {}
    return None, {"own_epoch": admit(trainer, "trainer")}


def own_weights(own: OwnModelOptions, spec: NetworkSpec) -> Saved:
    """Return the network of --model with the weights of --checkpoint, or with those that its function gives it.

    Raises:
        DataError: the weights do not fit.
    """
    network = make(spec)
    if own.checkpoint is not None:
        names = network.state_dict().keys()
        found = find_weights(read_checkpoint(own.checkpoint), names, own.checkpoint, own.weights_key)
        if found.said:
            typer.echo(f"{own.checkpoint.name}: {found.said}", err=True)
        put_weights(network, found.weights, own.checkpoint, f"the network of {spec.arch}")
    return Saved(network.state_dict(), spec, {})


def network_of(
    from_: Path | None,
    own: OwnModelOptions,
    dataset: Any,
    classes: Callable[[], int | None],
    *,
    family: str = "sat",
    dual: bool = False,
) -> Saved:
    """Open the network that --from, or --model and --checkpoint, give.

    Args:
        dataset: for the shape of its images, if the network is the user's.
        classes: counts the classes for a classifier of the user's; called only then.
        family: see `networks.spec_for`.
        dual: see `network_at`.
    Raises:
        typer.BadParameter: neither is given, or the file holds another network than that of --model.
        DataError, RequirementError: it cannot be opened.
    """
    if from_ is not None:
        return network_in_file(from_, own, partial(network_at, dual=dual))
    if own.model is None:
        raise typer.BadParameter("give --from, or --model with a network of yours.")
    arch = admit(own.model, "model")
    channels, size = image_shape(dataset)
    spec = spec_for(arch, family, channels=channels, size=size, classes=classes(), projection=2, routes=own.routes)
    return own_weights(own, spec)


def network_in_file(from_: Path, own: OwnModelOptions, read: Callable[[Path], Saved]) -> Saved:
    """Open the network in a file after the code of --model, which it may be made by.

    Args:
        read: opens the file.
    Raises:
        typer.BadParameter: the file holds another network than that of --model.
        DataError, RequirementError: it cannot be opened.
    """
    arch = None if own.model is None else admit(own.model, "model")
    saved = read(from_)
    if arch is not None and saved.spec.arch != arch:
        raise typer.BadParameter(f"{from_} holds the network {saved.spec.arch}, not that of --model {own.model}.")
    return saved


def source_of(from_: Path | None, own: OwnModelOptions) -> str:
    """Name what a network was opened from, for messages."""
    if from_ is not None:
        return str(from_)
    return str(own.model) if own.checkpoint is None else f"{own.checkpoint} in {own.model}"

"""A network on disk: its tensors, what it is, and what is known about it, in one file that holds no code."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import Tensor, nn

from coreselect.errors import CoreselectError, DataError, RequirementError
from coreselect.io.atomic import atomic_file
from coreselect_integrations.networks.routes import RoutedNetwork
from coreselect_integrations.networks.spec import Spec
from coreselect_integrations.networks.weights import describe, filled, misfit, outline

KEYS = ("model", "network", "about")
CLASSES = "classes"  # files of earlier releases lack it


@dataclass(frozen=True, slots=True)
class Saved:
    """What a file holds: `weights` by name, on the CPU; the `spec` they are of; `about` as it was given, as JSON.

    `classes` are the names of the classes in the order of their numbers, or None if the file has none.
    """

    weights: Mapping[str, Tensor]
    spec: Spec
    about: Mapping[str, Any]
    classes: tuple[str, ...] | None = None


def save_network(
    path: str | Path,
    model: nn.Module,
    spec: Spec,
    about: Mapping[str, Any],
    classes: Sequence[str] | None = None,
) -> None:
    """Write a network, whole or not at all: {"model": state dict, "network": spec, "about": about, "classes": names or None}.

    `load_network` reads it, and `coreselect select --checkpoint` its tensors.

    Args:
        path: where the file shall be; its folder is made.
        model: of the spec, on any device; wrappers such as DDP are to be taken off first.
        spec: what it is.
        about: how it was trained, in values that JSON can hold; tuples become lists.
        classes: the names of the classes, in the order of their numbers; None if they are unknown.
    Raises:
        RequirementError: the model is not what `spec` says, or JSON cannot hold `about`; nothing is written.
        UnknownNameError: no such architecture.
        OSError: the file cannot be written.
    """
    held = model.state_dict()
    wrong = misfit(held, outline(spec).state_dict())
    if wrong is not None:
        why = f"the network is not {describe(spec)}: {wrong}; give the Spec it was made from and take off any wrapper."
        raise RequirementError(why)
    try:
        plain = json.loads(json.dumps(dict(about)))
    except (TypeError, ValueError) as error:
        why = f"what is said about a network must be values that JSON can hold: {error}."
        raise RequirementError(why) from error
    # cloned, because a view would be written with everything it views
    weights = {n: t.detach().cpu().clone() for n, t in held.items()}
    with atomic_file(path) as file:
        names = None if classes is None else [str(name) for name in classes]
        torch.save({**dict(zip(KEYS, (weights, asdict(spec), plain), strict=True)), CLASSES: names}, file)


def load_network(path: str | Path) -> Saved:
    """Read what `save_network` wrote; no code in the file is run.

    Raises:
        DataError: there is no such file, or it is torn, damaged or of another kind, or its tensors are not its spec's.
    """
    try:
        with ZipFile(path) as parts:  # torch writes checksums and does not read them: a flipped bit would be a weight
            damaged = parts.testzip()
        held = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a file that is torn or not its own
        why = f"{path} cannot be read as a network ({type(error).__name__}): give a file that save_network wrote."
        raise DataError(why) from error
    if damaged:
        why = f"{path} is damaged (the checksum of {damaged!r} does not fit): take another copy."
        raise DataError(why)
    weights, network, about = (held.get(k) if isinstance(held, Mapping) else None for k in KEYS)
    if not isinstance(weights, Mapping) or not isinstance(network, Mapping) or not isinstance(about, Mapping):
        why = f"{path} holds no network under the names {', '.join(KEYS)}: give a file that save_network wrote."
        raise DataError(why)
    try:
        spec = Spec(**{str(k): v for k, v in network.items()})
        wrong = misfit(weights, outline(spec).state_dict())
    except (CoreselectError, TypeError) as error:
        why = f"{path} says nothing of which a network can be made: {str(error).rstrip('.')}."
        raise DataError(why) from error
    if wrong is not None:
        why = f"{path} does not hold {describe(spec)}, as it says: {wrong}."
        raise DataError(why)
    names = held.get(CLASSES) if isinstance(held, Mapping) else None
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        why = f"{path} has class names that are no list of texts: give a file that save_network wrote."
        raise DataError(why)
    return Saved(weights, spec, about, None if names is None else tuple(names))


def restore(saved: Saved) -> RoutedNetwork:
    """Make the network of a file, every tensor bit for bit as it was saved; in training mode, on the CPU.

    Raises:
        DataError: the weights are not of the spec.
    """
    try:
        return filled(saved.spec, saved.weights)
    except RequirementError as error:
        raise DataError(str(error)) from error

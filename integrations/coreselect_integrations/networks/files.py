"""Save and load a network as one file without code: its tensors, its spec, and values about its training."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from torch import Tensor, nn

from coreselect.errors import CoreselectError, DataError, RequirementError
from coreselect.io.atomic import atomic_file
from coreselect.io.weights_file import load_verified
from coreselect_integrations.networks.network_spec import NetworkSpec
from coreselect_integrations.networks.routes import RoutedNetwork
from coreselect_integrations.networks.weights import describe, empty_network, mismatch, network_from_weights

KEYS = ("model", "network", "about")
CLASSES = "classes"  # files of earlier releases lack it


@dataclass(frozen=True, slots=True)
class Saved:
    """The contents of a file: `weights` by name, on the CPU; the `spec` of their network; `about`, the JSON values saved.

    `classes` are the names of the classes in the order of their numbers, or None if the file has none.
    """

    weights: Mapping[str, Tensor]
    spec: NetworkSpec
    about: Mapping[str, Any]
    classes: tuple[str, ...] | None = None


def save_network(
    path: str | Path,
    model: nn.Module,
    spec: NetworkSpec,
    about: Mapping[str, Any],
    classes: Sequence[str] | None = None,
) -> None:
    """Write a network as {"model": state dict, "network": spec, "about": about, "classes": names or None}.

    A crash leaves no partial file. `load_network` reads the file, and `coreselect select --checkpoint` reads its tensors.

    Args:
        path: of the file; its folder is made.
        model: the network that `spec` describes, on any device; first take off wrappers such as DDP.
        spec: what the network is.
        about: how it was trained, in JSON values; tuples become lists.
        classes: the names of the classes, in the order of their numbers; None if they are unknown.
    Raises:
        RequirementError: the model does not match `spec`, or `about` is not JSON; nothing is written.
        UnknownNameError: no architecture has this name.
        OSError: the file cannot be written.
    """
    held = model.state_dict()
    wrong = mismatch(held, empty_network(spec).state_dict())
    if wrong is not None:
        why = f"the network is not {describe(spec)}: {wrong}; give the NetworkSpec it was made from, and take off any wrapper."
        raise RequirementError(why)
    try:
        plain = json.loads(json.dumps(dict(about)))
    except (TypeError, ValueError) as error:
        why = f"the values about a network must be JSON values: {error}."
        raise RequirementError(why) from error
    # cloned, because saving a view also saves the whole tensor behind it
    weights = {n: t.detach().cpu().clone() for n, t in held.items()}
    names = None if classes is None else [str(name) for name in classes]
    with atomic_file(path) as file:
        torch.save({**dict(zip(KEYS, (weights, asdict(spec), plain), strict=True)), CLASSES: names}, file)


def load_network(path: str | Path) -> Saved:
    """Read a file of `save_network` without running any code in it.

    Raises:
        DataError: the file is missing, cut off, damaged or of another kind, or its tensors do not match its spec.
    """
    return network_in(_read(path), path)


def _read(path: str | Path) -> Any:
    """Load what a file holds, after checking its checksums; torch's old format, which has none, is refused."""
    if not is_zipfile(path):
        why = f"{path} cannot be read as a network: give a file that save_network wrote."
        raise DataError(why)
    return load_verified(Path(path))


def is_ours(held: Any) -> bool:
    """Say whether what a file holds has the parts of a file of `save_network`."""
    return isinstance(held, Mapping) and all(isinstance(held.get(k), Mapping) for k in KEYS)


def network_in(held: Any, path: str | Path) -> Saved:
    """Return the network in what a file of `save_network` holds; `path` names the file in messages.

    Raises:
        DataError: something is missing or does not fit.
    """
    weights, network, about = (held.get(k) if isinstance(held, Mapping) else None for k in KEYS)
    if not isinstance(weights, Mapping) or not isinstance(network, Mapping) or not isinstance(about, Mapping):
        why = f"{path} holds no network under the names {', '.join(KEYS)}: give a file that save_network wrote."
        raise DataError(why)
    try:
        spec = NetworkSpec(**{str(k): v for k, v in network.items()})
        wrong = mismatch(weights, empty_network(spec).state_dict())
    except (CoreselectError, TypeError) as error:
        why = f"{path} does not describe a network that can be made: {str(error).rstrip('.')}."
        raise DataError(why) from error
    if wrong is not None:
        why = f"{path} says that it holds {describe(spec)}, but it does not: {wrong}."
        raise DataError(why)
    names = held.get(CLASSES) if isinstance(held, Mapping) else None
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        why = f"{path} has class names that are not a list of texts: give a file that save_network wrote."
        raise DataError(why)
    return Saved(weights, spec, about, None if names is None else tuple(names))


def restore(saved: Saved) -> RoutedNetwork:
    """Make the network of a file, with every tensor bit for bit as saved, in training mode on the CPU.

    Raises:
        DataError: the weights do not match the spec.
    """
    try:
        return network_from_weights(saved.spec, saved.weights)
    except RequirementError as error:
        raise DataError(str(error)) from error

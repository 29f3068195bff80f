"""The model of `coreselect select`: from the user's factory and checkpoint, or a small network that is warmed up first."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from coreselect.data import labels_of
from coreselect.errors import DataError, RequirementError, ShapeError
from coreselect.io.atomic import atomic_file
from coreselect.io.weights_file import find_weights, load_verified, put_weights
from coreselect.network.frozen import refuse_meta, unwrap
from coreselect.network.normalized import Normalized
from coreselect.network.routes import routed_call
from coreselect.network.split_checks import refuse_unmade_parameters
from coreselect.protocols import Call, Loss, MakeViews, Progress
from coreselect.support.factories import called_with, resolve


@dataclass(frozen=True)
class PreparedModel:
    """A model with what else `Task.from_model` needs. `said` is one line for the user, `record` goes into `--json`."""

    model: nn.Module
    call: Call | None
    views: MakeViews | None
    said: str
    record: Mapping[str, Any]


def from_factory(
    spec: str,
    checkpoint: Path | None,
    views: str | None,
    loss_views: int,
    device: torch.device,
    routes: str | None = None,
    key: str | None = None,
    known: Mapping[str, Any] = MappingProxyType({}),
) -> PreparedModel:
    """Make the user's model and load its weights. No code in the checkpoint is run.

    A model is called with the route if the second argument of its `forward` is named route, bn or bn_name. How it names its routes
    is recognised, or said by `routes`.

    Args:
        spec: the factory, `package.module:factory` or `path/to/file.py:factory`.
        checkpoint: a file of weights, as `load_weights` reads it; None keeps those of the factory.
        views: the function that makes two views, written like `spec`; None takes a registered one where the loss needs it.
        loss_views: how many views the loss reads.
        device: where the model is moved.
        routes: its names of the natural and the adversarial route, such as `normal,pgd`.
        key: under which the checkpoint holds the weights; None: a usual one.
        known: arguments by name, such as `classes`; the factory is called with those that it names.
    Raises:
        DataError: the factory returns no module, or the checkpoint does not fit the model.
        HeadError: the model takes no routes, or their names cannot be recognised; or it has lazy layers without parameters.
        RequirementError: its parameters are on the device `meta`.
    """
    model = called_with(resolve(spec, "model"), known)
    if not isinstance(model, nn.Module):
        raise DataError(f"the model factory {spec} returned a {type(model).__name__}, a torch.nn.Module is needed.")
    loaded = load_weights(model, checkpoint, key) if checkpoint is not None else ""
    refuse_meta(model)
    refuse_unmade_parameters(model)
    routed = routed_call(unwrap(model), None if routes is None else routes.split(","))
    said = f"model {spec}" + (
        f", weights from {checkpoint.name}{loaded and f' ({loaded})'}"
        if checkpoint
        else ", weights as the factory made them"
    )
    return PreparedModel(
        model.to(device),
        routed,
        resolve(views, "views") if views is not None else registered("coreselect.views") if loss_views > 1 else None,
        said + (f", called with routes {routed.names[0]} and {routed.names[1]}" if routed else ""),
        {"model": spec, "checkpoint": None if checkpoint is None else checkpoint.name},
    )


def known_of(pool: Any, loss: Loss) -> dict[str, Any]:
    """Return what a factory may ask for: the classes (None without labels), the channels and the side of images."""
    item = pool[0]
    x, labels = item[0] if isinstance(item, tuple | list) else item, labels_of(pool)
    classes = None if labels is None or not loss.needs_labels else int(labels.max()) + 1
    images = isinstance(x, torch.Tensor) and x.dim() == 3
    return {"classes": classes, **({"channels": x.shape[0], "size": min(x.shape[1:])} if images else {})}


def normalised(prepared: PreparedModel, mean: str, std: str) -> PreparedModel:
    """Put the normalisation of images into the user's model.

    Args:
        mean, std: numbers separated by commas, one for each channel, or one number.
    Raises:
        ShapeError: they are no such numbers.
    """
    try:
        numbers = [[float(number) for number in words.split(",")] for words in (mean, std)]
    except ValueError as why:
        raise ShapeError(
            f"--mean and --std are numbers separated by commas, 0.49,0.48,0.45, got {mean!r} and {std!r}."
        ) from why
    device = next((t.device for t in (*prepared.model.parameters(), *prepared.model.buffers())), None)
    return replace(
        prepared,
        model=Normalized(prepared.model, *numbers).to(device),
        said=f"{prepared.said}, on images normalised by mean {mean} and std {std}",
        record={**prepared.record, "mean": numbers[0], "std": numbers[1]},
    )


def load_weights(model: nn.Module, path: Path, key: str | None = None) -> str:
    """Load the weights of a file into a model: a state dict, or one under a usual key or `key`; see `weights_file.find_weights`.

    Returns:
        In words, what was chosen and how names were changed; "" if there is nothing to say.
    Raises:
        DataError: the file is damaged, no checkpoint of weights alone, or its names or shapes do not fit the model.
    """
    found = find_weights(load_verified(path), model.state_dict().keys(), path, key)
    put_weights(model, found.weights, path)
    return found.said


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the state dict of a model, completely or not at all. `load_weights` reads it."""
    with atomic_file(path) as file:
        torch.save(model.state_dict(), file)


def warmed(pool: Any, *, device: torch.device, progress: Progress, **settings: Any) -> PreparedModel:
    """Train a small network adversarially on the pool, with the function registered under `coreselect.warmup`.

    Raises:
        RequirementError: no function is registered.
    """
    model, record = registered("coreselect.warmup")(pool, device=device, progress=progress, **settings)
    epochs = settings["epochs"]
    said = f"no model was given: a {settings['arch']!r} network " + (
        f"was trained adversarially for {epochs} epoch{'' if epochs == 1 else 's'} of the pool "
        f"({record.seconds:.0f} s, {settings['attack_steps']}-step attack)"
        if epochs
        else "with random weights was taken, without training (--warmup-epochs 0)"
    )
    return PreparedModel(model, record.call, record.views, said, {**record.settings, "warmup_seconds": record.seconds})


def registered(group: str) -> Any:
    """Load the first object that is registered under an entry-point group.

    Raises:
        RequirementError: nothing is registered.
    """
    found = list(entry_points(group=group))
    if not found:
        raise RequirementError(
            f"no installed package registers {group!r}: install coreselect whole, or give --model and --views of your own."
        )
    return found[0].load()

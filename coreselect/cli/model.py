"""The model of a `select`: the user's factory and checkpoint, or a named small network that is warmed up first."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch
from torch import nn

from coreselect.errors import DataError, RequirementError
from coreselect.io.atomic import atomic_file
from coreselect.protocols import Call, MakeViews, Progress
from coreselect.support.factories import resolve


@dataclass(frozen=True)
class Ready:
    """A model with what `Task.from_model` needs beside it; `said` is one line for the user, `record` goes to `--json`."""

    model: nn.Module
    call: Call | None
    views: MakeViews | None
    said: str
    record: Mapping[str, Any]


def from_factory(spec: str, checkpoint: Path | None, views: str | None, loss_views: int, device: torch.device) -> Ready:
    """Make the user's model and load its weights (weights only: no code in the file is run).

    A model whose `forward` takes a second positional argument besides the input gets the route there.

    Raises:
        DataError: the factory gives no module, or the checkpoint does not fit it.
    """
    model = resolve(spec, "model")()
    if not isinstance(model, nn.Module):
        raise DataError(f"the model factory {spec} returned a {type(model).__name__}, a torch.nn.Module is needed.")
    if checkpoint is not None:
        load_weights(model, checkpoint)
    routed = _takes_route(model)
    said = f"model {spec}" + (
        f", weights from {checkpoint.name}" if checkpoint else ", weights as the factory made them"
    )
    return Ready(
        model.to(device),
        (lambda m, x, route: m(x, route)) if routed else None,
        resolve(views, "views") if views is not None else _registered("coreselect.views") if loss_views > 1 else None,
        said + (", called with routes" if routed else ""),
        {"model": spec, "checkpoint": None if checkpoint is None else checkpoint.name},
    )


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a state dict, bare or under "model", "state_dict" or "model_state_dict"; names may carry a "module." prefix.

    Raises:
        DataError: the file is no weights-only checkpoint, or its names or shapes are not the model's.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as why:  # torch raises many kinds for a file that is not a checkpoint
        raise DataError(
            f"{path} cannot be read as weights ({type(why).__name__}): save model.state_dict() with torch.save."
        ) from why
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(held, Mapping) and isinstance(held.get(key), Mapping):
            held = held[key]
    if not isinstance(held, Mapping):
        raise DataError(f"{path} holds a {type(held).__name__}, a state dict is needed.")
    weights = {str(k).removeprefix("module."): v for k, v in held.items()}
    try:
        model.load_state_dict(weights)
    except (RuntimeError, AttributeError, TypeError) as why:
        first = " ".join(str(why).split())
        raise DataError(f"{path} does not fit the model: {first[:300]}.") from why


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's state dict, whole or not at all; `load_weights` reads it."""
    with atomic_file(path) as file:
        torch.save(model.state_dict(), file)


def warmed(pool: Any, *, device: torch.device, progress: Progress, **settings: Any) -> Ready:
    """Train a named small network adversarially on the pool, by whoever is registered under `coreselect.warmup`.

    Raises:
        RequirementError: nobody is.
    """
    model, record = _registered("coreselect.warmup")(pool, device=device, progress=progress, **settings)
    said = (
        f"no model was given: a {settings['arch']!r} network was trained adversarially for {settings['epochs']} epochs of the pool "
        f"({record.seconds:.0f} s, {settings['attack_steps']}-step attack)"
    )
    return Ready(model, record.call, record.views, said, {**record.settings, "warmup_seconds": record.seconds})


def _registered(group: str) -> Any:
    """Load what another package registered under an entry-point group.

    Raises:
        RequirementError: nobody has.
    """
    found = list(entry_points(group=group))
    if not found:
        raise RequirementError(f"no installed package registers {group!r}: give --model and --views of your own.")
    return found[0].load()


def _takes_route(model: nn.Module) -> bool:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in inspect.signature(model.forward).parameters.values() if p.kind in kinds]
    return len(names) > 1 and names[1] in ("route", "bn", "bn_name")

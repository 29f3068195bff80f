"""A look at the model when a loop or a command begins: what a selection after the warm-up would refuse is refused at once."""

from collections.abc import Collection
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from coreselect.data.images import labels_of
from coreselect.data.reading import read
from coreselect.data.reading import unpack as default_unpack
from coreselect.data.subsets import origin
from coreselect.errors import HeadError, ShapeError
from coreselect.gradients.inputs import in_precision, refuse_labels, targets_for, to_device
from coreselect.gradients.loss_check import refuse_wrong_loss
from coreselect.losses.own import refuse_loss_elsewhere
from coreselect.losses.targets import reads_classes
from coreselect.network.frozen import frozen, unwrap
from coreselect.network.gathered import is_spread
from coreselect.network.network import default_call
from coreselect.network.split import split
from coreselect.network.split_checks import refuse_unmade_parameters
from coreselect.network.trace import refuse_output
from coreselect.network.wrapped import call_through
from coreselect.protocols import Call
from coreselect.support.interruptions import interruptible
from coreselect.support.seeding import rng_kept
from coreselect.support.structure import described, mapped, size
from coreselect.task.recipe import ModelRecipe
from coreselect.types import Int64

PROBED = 4  # items
TRAINS = frozenset(
    {"gradients", "example_gradients", "natural_losses"}
)  # needs for which the loss reads the pool's targets
RUNS = TRAINS | {"features", "logits"}  # needs for which the model runs on the pool


def dry_probe(task: Any, requires: Collection[str]) -> None:
    """Read a few items of the pool, run the model on them, and refuse what a selection cannot work with.

    That is a model that cannot be split, an output or targets that do not fit, a label without an output, and validation inputs
    on which the model fails, although it runs on the pool. A model that cannot be run yet is left to the selection, and so is
    what only reading the whole pool would show.

    Args:
        task: anything but a task with a model is left alone, and so is a model that FSDP has spread: a selection gathers it.
        requires: what the selector needs of the task; one that needs labels alone does not run the model.
    Raises:
        HeadError: there is no head, or the one that is named is none of this model's; the output is not [B, C]; or the model
            computes in half precision or mixes the inputs of a batch (`coreselect.network.split`).
        ShapeError: a label lies outside the outputs, a loss of the user's does not give one value for each example, or the model
            fails on validation inputs.
        RequirementError, DataError: the loss needs labels, and the pool has none, or other targets.
    """
    if not isinstance(task, ModelRecipe) or not {*requires} - {"labels"} or is_spread(task.model):
        return
    found = _read(task, task.pool, task.n, "pool")
    if found is None:
        return
    bare = unwrap(task.model)
    call = task.call if task.call is default_call else call_through(task.model, bare, task.call)
    if TRAINS & {*requires}:
        targets_for(task.loss, found[1], size(found[0]), task.pool)
    fixed = frozenset(n for n, p in bare.named_parameters() if not p.requires_grad)
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        model = stack.enter_context(frozen(task.model))
        x = found[0]
        named = task.head is not None or task.capture is not None
        if named:
            _refuse_head(task, fixed, model, call, x)
        output = _run(task, model, call, x)
        if isinstance(output, Exception):  # the model is not ready
            return
        if RUNS & {*requires}:
            refuse_output(output, size(x))
            if not named and bool(torch.isfinite(output).all()):  # else training may mend it
                _refuse_head(task, fixed, model, call, x)
            if TRAINS & {*requires}:
                _refuse_loss(task, output, found[1])
        if "validation" in requires and RUNS & {*requires}:
            _refuse_validation(task, model, call, x)
    labels = _labels(task, requires)
    if labels is not None and isinstance(output, torch.Tensor) and output.dim() == 2:
        refuse_labels(np.arange(len(labels)), torch.as_tensor(labels), output.shape[1])


def probe_loss(task: ModelRecipe) -> None:
    """Refuse a loss of the user's that does not give one value for each example, where a loop trains by it without selecting.

    Raises:
        ShapeError: see `coreselect.gradients.loss_check.refuse_wrong_loss`.
    """
    skipped = reads_classes(task.loss) or not task.loss.per_example or is_spread(task.model)
    found = None if skipped else _read(task, task.pool, task.n, "pool")
    if found is None:
        return
    call = task.call if task.call is default_call else call_through(task.model, unwrap(task.model), task.call)
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        model = stack.enter_context(frozen(task.model))
        _refuse_loss(task, _run(task, model, call, found[0]), found[1])


def _refuse_loss(task: ModelRecipe, output: Any, y: Any) -> None:
    """Refuse a loss that the output [b, C] of a few items shows to be wrong; what is no output says nothing."""
    if isinstance(output, torch.Tensor) and not reads_classes(task.loss):
        refuse_loss_elsewhere(task.loss, output.device)
        refuse_wrong_loss(task.loss, output, mapped(lambda t: t.to(output.device), y))


def _read(task: ModelRecipe, dataset: Any, n: int, part: str) -> tuple[Any, Any] | None:
    """Return the inputs and the targets of the first items of a dataset; None if they cannot be read: the selection says it."""
    places = [np.arange(min(PROBED, n), dtype=np.int64)]
    try:
        with interruptible(), rng_kept():
            _, x, y = next(iter(read(dataset, places, seed=0, path=(part, 0), unpack=task.unpack, raw=True)))
    except Exception:  # of the user's items
        return None
    return x, y


def _placed(task: ModelRecipe, model: nn.Module, x: Any) -> Any:
    """Return inputs where the model reads them, in its precision."""
    first = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    return to_device(in_precision(x, first.dtype), task.device or first.device)


def _run(task: ModelRecipe, model: nn.Module, call: Call, x: Any) -> Any:
    """Return the output of the model, or the exception that it raises; lazy modules are left as they are."""
    try:
        refuse_unmade_parameters(model)
        with torch.no_grad():
            return call(model, _placed(task, model, x), "natural")
    except Exception as why:  # of the user's model, which may raise anything
        return why


def _refuse_head(task: ModelRecipe, fixed: frozenset[str], model: nn.Module, call: Call, x: Any) -> None:
    """Refuse a model without a head, and a head or parameters that are named and are none of this model's."""
    try:
        split(model, call, _placed(task, model, x), head=task.head, capture=task.capture, fixed=fixed)
    except HeadError:
        raise
    except Exception:  # of a model that is not ready
        return


def _refuse_validation(task: ModelRecipe, model: nn.Module, call: Call, x: Any) -> None:
    """Refuse validation inputs on which the model fails, although it runs on those of the pool."""
    held = None if task.validation is None else _read(task, task.validation, len(task.validation), "validation")
    if held is None:
        return
    output = _run(task, model, call, held[0])
    if isinstance(output, Exception):
        raise ShapeError(
            f"the model fails on validation inputs {described(held[0])}, and runs on pool inputs {described(x)} "
            f"({type(output).__name__}: {' '.join(str(output).split())[:160]}): give validation items like those of the pool."
        ) from output


def _labels(task: ModelRecipe, requires: Collection[str]) -> Int64 | None:
    """Return the labels of the pool that the loss reads as class numbers, without reading an item; None if they are not listed.

    Those of a plain TensorDataset are its second tensor, where the loss is what reads them.
    """
    if not reads_classes(task.loss) or not task.memo.get("labels agree", True):
        return None
    listed = labels_of(task.pool)
    source, positions = origin(task.pool)
    if listed is not None or not TRAINS & {*requires} or task.unpack is not default_unpack:
        return listed
    if type(source) is not TensorDataset or len(source.tensors) < 2:
        return None
    second = source.tensors[1]
    if second.numel() != len(second) or second.is_floating_point() or second.is_complex():
        return None
    return second.reshape(-1).cpu().numpy().astype(np.int64)[positions]

"""A look at the model when a loop or a command begins: what a selection after the warm-up would refuse is refused at once."""

from collections.abc import Collection
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch

from coreselect.data.images import labels_of
from coreselect.data.reading import read
from coreselect.errors import HeadError
from coreselect.gradients.inputs import in_precision, refuse_labels, to_device
from coreselect.losses.targets import reads_classes
from coreselect.network.frozen import frozen, unwrap
from coreselect.network.gathered import is_spread
from coreselect.network.network import default_call
from coreselect.network.split import split
from coreselect.network.wrapped import call_through
from coreselect.support.interruptions import interruptible
from coreselect.task.recipe import ModelRecipe

PROBED = 4  # items


def dry_probe(task: Any, requires: Collection[str]) -> None:
    """Find the head that the task names, and give every label that the pool lists an output, with a few items of the pool.

    It runs only where something can be said before a selection: a head or parameters are named, or the loss reads classes and the
    pool lists labels. A model that cannot be run yet is left to the selection.

    Args:
        task: anything but a task with a model is left alone, and so is a model that FSDP has spread: a selection gathers it.
        requires: what the selector needs of the task; one that needs labels alone does not run the model.
    Raises:
        HeadError: there is no such head or parameter, or it is none of this model's.
        ShapeError: a label lies outside the outputs.
    """
    if not isinstance(task, ModelRecipe) or not {*requires} - {"labels"} or is_spread(task.model):
        return
    bare = unwrap(task.model)
    labels = labels_of(task.pool) if reads_classes(task.loss) and task.memo.get("labels agree", True) else None
    named = task.head is not None or task.capture is not None
    if not named and labels is None:
        return
    call = task.call if task.call is default_call else call_through(task.model, bare, task.call)
    fixed = frozenset(n for n, p in bare.named_parameters() if not p.requires_grad)
    first = next((p for p in bare.parameters() if p.is_floating_point()), torch.empty(0))
    try:
        with ExitStack() as stack:
            stack.enter_context(interruptible())
            model = stack.enter_context(frozen(task.model))
            places = [np.arange(min(PROBED, task.n), dtype=np.int64)]
            _, x, _ = next(iter(read(task.pool, places, seed=0, path=("pool", 0), unpack=task.unpack)))
            x = to_device(in_precision(x, first.dtype), task.device or first.device)
            net = split(model, call, x, head=task.head, capture=task.capture, fixed=fixed)
    except HeadError:
        if named:
            raise
        return
    except Exception:  # of a model that is not ready, or of items: the selection says it, with its place
        return
    if labels is not None and net.outputs > 1:
        refuse_labels(np.arange(len(labels)), torch.as_tensor(np.asarray(labels)), net.outputs)

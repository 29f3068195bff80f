"""What every number of a sweep depends on besides its kind and positions: by this a store of rows knows another run."""

from itertools import chain
from typing import Any

import torch
from torch import nn

from coreselect.data.images import labels_of
from coreselect.io.fingerprint import examine
from coreselect.support.records import digest_of, settings_of, versions
from coreselect.task.context import Context
from coreselect.task.recipe import ModelRecipe


def run_of(task: ModelRecipe, model: nn.Module, context: Context) -> dict[str, Any]:
    """Describe one run by values that JSON can hold.

    Weights are parameters and all buffers. A model, a call and the form of items are known by their names and structure, not by
    their code; the pool by its fingerprint, which reads some items only, and by all labels that it lists. Validation counts where
    the sweep compares the pool with its hashes.
    """
    device = task.device or next((p.device for p in model.parameters()), torch.device("cpu"))
    own, labels = versions(), labels_of(task.pool)
    return {
        "pool": context.fingerprint,
        "labels": None if labels is None else digest_of({"labels": torch.from_numpy(labels)}),
        "weights": digest_of(dict(chain(model.named_parameters(), model.named_buffers()))),
        "model": digest_of({f"{type(model).__qualname__} {_structure(model)}": torch.empty(0)}, 8),
        "call": settings_of(task.call),
        "unpack": settings_of(task.unpack),
        "seed": context.seed,
        "round": context.round,
        "device": device.type,
        "versions": {name: own.get(name) for name in ("coreselect", "torch")},
        "validation": _validation(task) if context.disjoint == "hashed" else None,
    }


def _structure(model: nn.Module) -> str:
    """Return what torch prints of every module itself: kernel sizes, strides, rates of dropout."""
    return "\n".join(f"{name} {type(m).__qualname__} {m.extra_repr()}" for name, m in model.named_modules())


def _validation(task: ModelRecipe) -> str:
    if "validation fingerprint" not in task.memo:
        found = examine(task.validation, what="validation", num_workers=task.num_workers, timeout=task.timeout)
        task.memo["validation fingerprint"] = found.fingerprint
    return task.memo["validation fingerprint"]

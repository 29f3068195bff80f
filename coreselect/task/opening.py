"""Open the snapshot of a task: one context manager for a model, one for arrays."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from coreselect.data.reading import unpack as default_unpack
from coreselect.data.subsets import origin, provably_disjoint
from coreselect.errors import RequirementError
from coreselect.gradients.parts import kept
from coreselect.io.fingerprint import examine, fingerprint
from coreselect.network.arithmetic import machine
from coreselect.network.frozen import frozen, unwrap
from coreselect.network.gathered import bare_copy, is_spread
from coreselect.network.network import default_call
from coreselect.network.wrapped import call_through
from coreselect.support.clock import Clock
from coreselect.support.devices import is_on
from coreselect.support.interruptions import interruptible, whole_at_the_end
from coreselect.support.ranks import world_size
from coreselect.support.seeding import rng_kept
from coreselect.task.array_snapshot import ArraySnapshot
from coreselect.task.context import Context
from coreselect.task.first_look import compare_labels
from coreselect.task.identity import run_of
from coreselect.task.model_snapshot import ModelSnapshot
from coreselect.task.recipe import ArrayRecipe, ModelRecipe
from coreselect.task.sharing import shared
from coreselect.task.snapshot import Snapshot


@contextmanager
@whole_at_the_end
def open_model(task: ModelRecipe, seed: int, round: int) -> Iterator[Snapshot]:
    """Open a snapshot of a model. The model and every random state are as before when it closes.

    Raises:
        RequirementError: the model is on another device than the task asks for.
        StoreError: the task's store is in use, of another run, damaged, or cannot be written.
    """
    bare, plain = unwrap(task.model), _in_one_piece(task)
    own = next((p.device for p in plain.parameters()), torch.device("cpu"))
    device = task.device or own
    if not is_on(own, device):
        raise RequirementError(f"device={device} and the model is on {own}: move the model there, or leave device out.")
    context = Context(
        seed=seed,
        round=round,
        clock=Clock(device),
        progress=task.progress,
        kept=task.kept,
        fingerprint=model_fingerprint(task),
        fixed=frozenset(n for n, p in unwrap(plain).named_parameters() if not p.requires_grad),
        machine=machine(own),
        **_origins(task),
    )
    positions = np.arange(len(task.pool), dtype=np.int64) if task.positions is None else task.positions
    if task.call is not default_call:
        task = replace(task, call=call_through(task.model, bare, task.call))
    with ExitStack() as stack:
        stack.enter_context(interruptible())
        model = stack.enter_context(frozen(plain, context.loose.add))
        stack.enter_context(shared(task, model, context, device))
        if task.store is not None:
            run = run_of(task, model, context)
            context.own_parts = stack.enter_context(task.store.opened(run, device))
            context.parts = kept(context.parts, context.own_parts)
        yield ModelSnapshot(task, model, context, positions)


def _in_one_piece(task: ModelRecipe) -> nn.Module:
    """Return the model, or a bare copy with its full parameters where FSDP has spread it over the ranks.

    Raises:
        RequirementError: it is spread over several ranks, and this process selects alone.
    """
    if not is_spread(task.model):
        return task.model
    if task.work is None and world_size() > 1:
        raise RequirementError(
            f"the model is spread over {world_size()} ranks by FSDP, and one of them cannot gather it alone: call select on every "
            "rank with share=True."
        )
    if task.work is not None:
        task.work.say("the gathering of the model")  # so that nobody waits for one that does not come
    return bare_copy(task.model)


@contextmanager
def open_arrays(task: ArrayRecipe, seed: int, round: int) -> Iterator[Snapshot]:
    """Open a snapshot of arrays. Every random state is as before when it closes."""
    context = Context(
        seed=seed,
        round=round,
        clock=Clock(),
        progress=task.progress,
        kept=task.kept,
        source=np.arange(task.size, dtype=np.int64),
        fingerprint=array_fingerprint(task),
        validation_indices=None,
        disjoint=None,
    )
    with rng_kept():
        yield ArraySnapshot(task, context, context.source if task.positions is None else task.positions)


def model_fingerprint(task: ModelRecipe) -> str:
    """Return the identity of the whole pool: its length, and a digest of 256 items or of the user's ids.

    The labels of the items that are read are compared with those that the pool lists.
    """
    memo = task.memo
    if "fingerprint" not in memo:
        found = examine(task.pool, ids=task.ids, what="pool", num_workers=task.num_workers, timeout=task.timeout)
        if task.unpack is default_unpack and task.pool_has_labels and memo.get("labels agree", True):
            memo["labels agree"] = compare_labels(task.pool, found.labels, "pool")
            if not memo["labels agree"]:
                memo.pop("labels", None)  # they were taken from the list
        memo["fingerprint"] = found.fingerprint
    return memo["fingerprint"]


def array_fingerprint(task: ArrayRecipe) -> str:
    """Return the identity of the pool: its length and a digest of 256 rows of the first array there is."""
    if "fingerprint" not in task.memo:
        arrays = (task.gradients, task.features, task.logits, task.labels)
        first: Any = next(a for a in arrays if a is not None)
        if task.groups is not None:
            first = _GroupRows(task.gradients, task.groups)
        task.memo["fingerprint"] = fingerprint(cast(Any, first))  # an array can be read like a map-style dataset
    return task.memo["fingerprint"]


class _GroupRows:
    """A dataset of each example's group and that group's row, not written out in memory."""

    def __init__(self, rows: Any, groups: Any) -> None:
        self.rows, self.groups = rows, groups

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.groups[index], self.rows[self.groups[index]]


def _origins(task: ModelRecipe) -> dict[str, Any]:
    """Where pool and validation come from; found once, because it takes time O(N) and rs2 selects every epoch."""
    if "origins" not in task.memo:
        proved = task.validation is not None and provably_disjoint(task.pool, task.validation)
        task.memo["origins"] = {
            "source": origin(task.pool)[1],
            "validation_indices": None if task.validation is None else origin(task.validation)[1],
            "disjoint": None if task.validation is None else "indices of one dataset" if proved else "hashed",
        }
    return task.memo["origins"]

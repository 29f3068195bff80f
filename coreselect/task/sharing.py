"""What the ranks of a process group check before they share the sweeps of a selection."""

from collections.abc import Iterator
from contextlib import contextmanager
from zlib import crc32

import torch
from torch import nn

from coreselect.gradients.shared import SharedParts
from coreselect.network.same_state import as_on_rank_0
from coreselect.support.records import settings_of
from coreselect.task.context import Context
from coreselect.task.recipe import ModelRecipe


@contextmanager
def shared(task: ModelRecipe, model: nn.Module, context: Context, device: torch.device) -> Iterator[None]:
    """Share the sweeps of a selection, if the task says with whom; the model is in the state of rank 0 meanwhile.

    Raises:
        ScheduleError: the ranks have other pools, seeds, losses, attacks, batches, or models of another form.
    """
    work = task.work
    if work is None:
        yield
        return
    named = {
        "loss": task.loss, "attack": task.attack, "attack_at": task.attack_at, "views": task.views, "head": task.head,
        "capture": task.capture,
    }  # fmt: skip
    held = context.validation_indices
    work.agree(
        "the start of a selection",
        {
            "the pool": (context.fingerprint, task.n),
            "the part of the pool": None if task.positions is None else crc32(task.positions.tobytes()),
            "the validation indices": None if held is None else crc32(held.tobytes()),
            "seed and round": (context.seed, context.round),
            "batch_size": task.batch_size,
            **settings_of(named),
        },
    )
    with as_on_rank_0(model, work):
        context.parts = SharedParts(work, device)
        yield

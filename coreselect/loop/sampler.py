"""CoresetSampler: when to select, and which examples an epoch sees; the user's training loop stays as it is.

The first `warmup` epochs see the whole pool. Later epochs see a selection, which is renewed when (epoch − warmup) mod every = 0,
and at once if a run starts or resumes inside an interval without a selection. A method that renews every epoch (rs2) does so; a
method that never renews (random) keeps its first selection.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from coreselect.budget import Budget, resolve
from coreselect.choosing import require, select
from coreselect.errors import ScheduleError
from coreselect.loop.epoch_sampler import EpochSampler, check_epoch
from coreselect.protocols import Selector
from coreselect.support.records import settings_of
from coreselect.task.task import Task
from coreselect.types import Int64, Selection


class CoresetSampler(EpochSampler):
    """Yield the pool positions of the epoch given to `set_epoch`, for a DataLoader over a dataset in the pool's order.

    Args:
        task: what to select from; its model is the model in training.
        selector: the method.
        budget: a count or a fraction of the pool.
        warmup: ω ≥ 0, how many epochs see the whole pool first; published 100 of 1000.
        every: λ ≥ 1, epochs between selections; published 20.
        seed: of selections and orders.
        shuffle: whether the order is random and new every epoch; else pool order, or pick order.
        rank, world_size: this process's share of the epoch; all shares have the same length, padded from the front.

    `set_epoch` does all the work, in the main process. In a process group every rank selects, and rank 0's selection is used.
    `__len__` and `__iter__` compute nothing.

    Raises:
        ScheduleError, BudgetError, RequirementError: a setting is not possible, or the task lacks what the selector needs.
    """

    def __init__(
        self,
        task: Task,
        selector: Selector,
        budget: Budget,
        warmup: int = 10,
        every: int = 10,
        seed: int = 0,
        *,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if warmup < 0 or every < 1 or not 0 <= rank < world_size:
            raise ScheduleError(
                f"a schedule needs warmup ≥ 0, every ≥ 1 and 0 ≤ rank < world_size, got {warmup}, {every}, {rank} of {world_size}."
            )
        require(selector, task.provides, getattr(task, "lacks", {}))
        if selector.renew not in ("never", "round", "epoch"):
            raise ScheduleError(
                f"the selector {selector.name!r} has renew={selector.renew!r}; it must be 'never', 'round' or 'epoch'."
            )
        super().__init__(seed, shuffle, rank, world_size)
        self.task, self.selector, self.warmup, self.every = task, selector, warmup, every
        self.k = resolve(budget, task.n)
        self.selection: Selection | None = None

    def round_of(self, epoch: int) -> int | None:
        """Return the round of selection that an epoch trains on, or None for the whole pool."""
        if epoch < self.warmup:
            return None
        since = epoch - self.warmup
        return {"never": 0, "round": since // self.every, "epoch": since}[self.selector.renew]

    def set_epoch(self, epoch: int) -> None:
        """Start an epoch: select, if the schedule needs a selection that does not exist yet.

        Args:
            epoch: ≥ 0.
        Raises:
            ScheduleError: the epoch is negative.
        """
        check_epoch(epoch)
        round = self.round_of(epoch)
        if round is not None and (self.selection is None or self.selection.provenance.round != round):
            chosen = select(self.task, self.selector, self.k, self.seed, round=round)
            self.selection = _from_rank_0(chosen) if self.world_size > 1 else chosen
        self.epoch = epoch

    def __len__(self) -> int:
        """Return how many positions of the current epoch (epoch 0 before the first `set_epoch`) this rank sees."""
        return self._share(self.k if self.round_of(self.epoch or 0) is not None else self.task.n)

    def _positions(self) -> Int64:
        if self.round_of(self.epoch or 0) is None:
            return np.arange(self.task.n)
        assert self.selection is not None  # set_epoch has made it
        return self.selection.indices

    def weights(self, indices: Tensor) -> Tensor:
        """Return the factors of the per-example losses of some pool positions, float32, in the same shape and on the same device.

        1 for the whole pool and for methods without weights; else the selection's weights, scaled to mean 1 over the selection.

        Raises:
            ScheduleError: a position is not in the current selection.
        """
        selection = None if self.epoch is None or self.round_of(self.epoch) is None else self.selection
        if selection is None or selection.weights is None:
            return torch.ones(indices.shape, device=indices.device)
        order = np.argsort(selection.indices)
        asked = indices.detach().cpu().numpy()
        at = order[np.minimum(np.searchsorted(selection.indices, asked, sorter=order), len(order) - 1)]
        if not np.array_equal(selection.indices[at], asked):
            raise ScheduleError("an index is not in the current selection: ask for weights of the batch's own indices.")
        scaled = selection.weights / selection.weights.mean()
        return torch.from_numpy(scaled[at]).to(device=indices.device, dtype=torch.float32)

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, the schedule and the selection as plain values and tensors (safe for weights-only loading)."""
        state: dict[str, Any] = {"epoch": self.epoch, **self._schedule(), "selection": None}
        if self.selection is not None:
            plain = asdict(self.selection)
            state["selection"] = _tensors(plain)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where a run stopped: with the same subset, without selecting again.

        Raises:
            ScheduleError: the state was saved with another schedule, selector, budget or pool.
        """
        self._check_state(state)
        kept = None if state["selection"] is None else Selection.from_plain(_arrays(state["selection"]))
        if kept is not None:
            pool = self.task.fingerprint()
            if kept.provenance.fingerprint != pool:
                raise ScheduleError(
                    f"the state's selection was made from the pool {kept.provenance.fingerprint}, this sampler's is {pool}: "
                    "resume with the same data, read in the same evaluation view."
                )
        self.selection, self.epoch = kept, state["epoch"]

    def _schedule(self) -> dict[str, Any]:
        settings = settings_of(self.selector)
        return {
            "selector": self.selector.name,
            "settings": settings
            if isinstance(settings, dict)
            else None,  # those of a dataclass; others cannot be compared
            "budget": self.k,
            "pool_size": self.task.n,
            "warmup": self.warmup,
            "every": self.every,
            "seed": self.seed,
        }


def _from_rank_0(chosen: Selection) -> Selection:
    """Return rank 0's selection on every rank: all ranks have selected, but accelerators may differ in a last bit."""
    if not (dist.is_available() and dist.is_initialized()):
        return chosen
    plain = [asdict(chosen)]
    dist.broadcast_object_list(plain, src=0)
    return Selection.from_plain(plain[0])


def _tensors(value: Any) -> Any:
    """Replace arrays by tensors, and tuples by lists."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, dict):
        return {k: _tensors(v) for k, v in value.items()}
    return [_tensors(v) for v in value] if isinstance(value, list | tuple) else value


def _arrays(value: Any) -> Any:
    """Replace tensors by arrays."""
    if isinstance(value, Tensor):
        return value.cpu().numpy()
    return {k: _arrays(v) for k, v in value.items()} if isinstance(value, dict) else value

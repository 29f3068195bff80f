"""CoresetSampler: when to select, and what to iterate; the user's loop stays as it is.

Before `warmup` epochs the whole pool; then a selection, renewed when (epoch − warmup) mod every = 0, and at once when a run
starts or resumes inside an interval without one. A method that renews every epoch (rs2) does so; one that never
renews (random) keeps its first answer.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Sampler

from coreselect.budget import Budget, resolve
from coreselect.choosing import require, select
from coreselect.errors import ScheduleError
from coreselect.protocols import Selector
from coreselect.support.records import settings_of
from coreselect.support.seeding import generator as seeded
from coreselect.task.task import Task
from coreselect.types import Selection


class CoresetSampler(Sampler[int]):
    """Yield pool positions of the epoch that `set_epoch` was told, for a DataLoader over the pool's twin.

    Args:
        task: what to select from; its model is the one being trained.
        selector: the method.
        budget: a count or a fraction of the pool.
        warmup: ω ≥ 0, how many epochs see the whole pool first; published 100 of 1000.
        every: λ ≥ 1, epochs between selections; published 20.
        seed: decides selections and orders.
        shuffle: a new order every epoch, a function of (seed, epoch); else pool order, or pick order.
        rank, world_size: this process's share of the epoch; shares are equal in length, padded from the front.

    `set_epoch` does all the work, in the main process (in a process group every rank selects, and rank 0's answer counts);
    `__len__` and `__iter__` compute nothing.

    Raises:
        BudgetError, RequirementError: at construction, not an hour later.
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
        require(selector, task.provides)
        if selector.renew not in ("never", "round", "epoch"):
            raise ScheduleError(
                f"the selector {selector.name!r} renews {selector.renew!r}; never, round or epoch is known."
            )
        self.task, self.selector, self.warmup, self.every, self.seed = task, selector, warmup, every, seed
        self.shuffle, self.rank, self.world_size = shuffle, rank, world_size
        self.k = resolve(budget, task.n)
        self.epoch: int | None = None
        self.selection: Selection | None = None

    def round_of(self, epoch: int) -> int | None:
        """Return which round an epoch trains on; None: the whole pool."""
        if epoch < self.warmup:
            return None
        since = epoch - self.warmup
        return {"never": 0, "round": since // self.every, "epoch": since}[self.selector.renew]

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch: select, where the schedule asks for a selection that is not there.

        Args:
            epoch: ≥ 0.
        Raises:
            ScheduleError: the epoch is negative.
        """
        if epoch < 0:
            raise ScheduleError(f"epochs count from 0, got {epoch}.")
        round = self.round_of(epoch)
        if round is not None and (self.selection is None or self.selection.provenance.round != round):
            chosen = select(self.task, self.selector, self.k, self.seed, round=round)
            self.selection = _agreed(chosen) if self.world_size > 1 else chosen
        self.epoch = epoch

    def __len__(self) -> int:
        """Count the indices of the present epoch (of epoch 0 before the first `set_epoch`) on this rank."""
        whole = self.k if self.round_of(self.epoch or 0) is not None else self.task.n
        return -(-whole // self.world_size)

    def __iter__(self) -> Iterator[int]:
        if self.epoch is None:
            raise ScheduleError(
                "call sampler.set_epoch(epoch) at the start of every epoch: it decides what the epoch sees."
            )
        if self.round_of(self.epoch) is None:
            order = np.arange(self.task.n)
        else:
            assert self.selection is not None  # set_epoch saw to it
            order = self.selection.indices
        if self.shuffle:
            order = order[torch.randperm(len(order), generator=seeded(self.seed, "order", self.epoch)).numpy()]
        if self.world_size > 1:
            order = np.resize(order, len(self) * self.world_size)[self.rank :: self.world_size]
        return iter(order.tolist())

    def weights(self, indices: Tensor) -> Tensor:
        """Return the factors for the per-example losses of some pool positions, float32, same shape and device.

        1 for the whole pool and for unweighted methods; else the selection's weights scaled to mean 1 over it.

        Raises:
            ScheduleError: a position is not of the present selection.
        """
        selection = None if self.epoch is None or self.round_of(self.epoch) is None else self.selection
        if selection is None or selection.weights is None:
            return torch.ones(indices.shape, device=indices.device)
        order = np.argsort(selection.indices)
        asked = indices.detach().cpu().numpy()
        at = order[np.minimum(np.searchsorted(selection.indices, asked, sorter=order), len(order) - 1)]
        if not np.array_equal(selection.indices[at], asked):
            raise ScheduleError("weights were asked for examples that are not of the present selection.")
        scaled = selection.weights / selection.weights.mean()
        return torch.from_numpy(scaled[at]).to(device=indices.device, dtype=torch.float32)

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, the schedule and the selection, in plain values and tensors (safe for weights-only loading)."""
        state: dict[str, Any] = {"epoch": self.epoch, **self._schedule(), "selection": None}
        if self.selection is not None:
            plain = asdict(self.selection)
            state["selection"] = _tensors(plain)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a run stopped: the same subset, without selecting again.

        Raises:
            ScheduleError: the state is of another schedule, selector, budget or pool.
        """
        for what, here in self._schedule().items():
            if state.get(what) != here:
                raise ScheduleError(f"the state is of {what} {state.get(what)!r}, this sampler has {here!r}.")
        kept = None if state["selection"] is None else Selection.from_plain(_arrays(state["selection"]))
        if kept is not None:
            pool = self.task.fingerprint()
            if kept.provenance.fingerprint != pool:
                raise ScheduleError(
                    f"the state's selection is of the pool {kept.provenance.fingerprint}, this sampler's is {pool}: resume with "
                    "the same data, read in the same evaluation view."
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


def _agreed(chosen: Selection) -> Selection:
    """Return rank 0's selection on every rank: all have made it, but accelerators may differ in a last bit."""
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

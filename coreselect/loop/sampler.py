"""CoresetSampler: when to select, and which examples an epoch sees; the user's training loop stays as it is.

The first ω = `warmup` epochs see the whole pool. Later epochs see a selection, which is renewed every λ = `every` epochs, and at
once if a run starts or resumes inside an interval without a selection. A method that renews every epoch (rs2) does so; a method
that never renews (random) keeps its first selection.

    align="warmup":    select in the epochs e ≥ ω with (e − ω) mod λ = 0
    align="absolute":  select in the epochs e ≥ ω with e mod λ = 0; before the first of them the whole pool is seen

The second is Algorithm 2 of Xu et al., NeurIPS 2023. Where λ divides ω, the two are the same.
"""

from dataclasses import asdict
from hashlib import blake2b
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from coreselect.budget import Budget, resolve
from coreselect.choosing import check_selector, select
from coreselect.errors import ScheduleError
from coreselect.loop import ranks
from coreselect.loop.epoch_sampler import EpochSampler
from coreselect.protocols import Selector
from coreselect.support.records import settings_of
from coreselect.support.type_checks import whole
from coreselect.task.task import Task
from coreselect.types import Int64, Selection

Align = Literal["warmup", "absolute"]


class CoresetSampler(EpochSampler):
    """Yield the pool positions of the epoch given to `set_epoch`, for a DataLoader over a dataset in the pool's order.

    Args:
        task: what to select from; its model is the model in training.
        selector: the method.
        budget: a count or a fraction of the pool.
        warmup: ω ≥ 0, how many epochs see the whole pool first; published 100 of 1000.
        every: λ ≥ 1, epochs between selections; published 20.
        align: from where intervals are counted: "warmup", from epoch ω, or "absolute", from epoch 0 as in Algorithm 2.
        seed: of selections and orders.
        shuffle: whether the order is random and new every epoch; else pool order, or pick order.
        rank, world_size: this process's share of the epoch; all shares have the same length, padded from the front. None
            means those of the torch process group. Under a wrapper that deals batches out itself, give 0 and 1.

    `set_epoch` does all the work, in the main process. In a process group every rank selects, and rank 0's selection is used.
    `__len__` and `__iter__` select nothing, but for a first pass without `set_epoch`, which is epoch 0.

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
        align: Align = "warmup",
        shuffle: bool = True,
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        warmup = whole("warmup", warmup, ScheduleError)
        every = whole("every", every, ScheduleError, least=1)
        if align not in ("warmup", "absolute"):
            raise ScheduleError(f'align is "warmup" or "absolute", got {align!r}.')
        check_selector(selector, task)
        if selector.renew not in ("never", "round", "epoch"):
            raise ScheduleError(
                f"the selector {selector.name!r} has renew={selector.renew!r}; it must be 'never', 'round' or 'epoch'."
            )
        super().__init__(seed, shuffle, rank, world_size)
        self.task, self.selector, self.warmup, self.every = task, selector, warmup, every
        self.align: Align = align
        self.k = resolve(budget, task.n)
        self.selection: Selection | None = None
        self._restored: Selection | None = None  # that of the last state, until a later round is selected
        self._replaced: Selection | None = None  # what the last state has replaced, until the next set_epoch
        self._plain: tuple[Selection, Any] | None = (
            None  # a selection and its plain form, since loaders ask at every batch
        )

    def round_of(self, epoch: int) -> int | None:
        """Return the round of selection that an epoch trains on, or None for the whole pool."""
        first = self.warmup if self.align == "warmup" else -(-self.warmup // self.every) * self.every
        since = epoch - first
        if since < 0:
            return None
        return {"never": 0, "round": since // self.every, "epoch": since}[self.selector.renew]

    def _prepare(self, epoch: int) -> bool:
        """Select, if the schedule needs a selection that does not exist yet."""
        round, before = self.round_of(epoch), self.selection
        if round is not None:
            self.selection = self._known(round) or self._select(round)
        self._replaced = None
        return round is not None and self.selection is not before

    def _known(self, round: int) -> Selection | None:
        """Return the selection of a round: the current one, that of the last state, or that which the state has replaced."""
        known = (self.selection, self._restored, self._replaced)
        return next((s for s in known if s is not None and s.provenance.round == round), None)

    def _select(self, round: int) -> Selection:
        """Select for a round, under the model as it is now."""
        chosen = ranks.together(lambda: select(self.task, self.selector, self.k, self.seed, round=round), "select")
        if self._restored is not None and round > self._restored.provenance.round:
            self._restored = None  # the run has gone on from the state
        if ranks.world_size() == 1:
            return chosen
        return Selection.from_plain(ranks.of_rank_0(asdict(chosen)))  # models may differ in statistics or a last bit

    @property
    def pool_size(self) -> int:
        """N, the number of examples in the pool."""
        return self.task.n

    def _needs_weights(self, by_loader: bool) -> bool:
        weights = None if self.round_of(self.epoch or 0) is None or self.selection is None else self.selection.weights
        return weights is not None and bool(np.ptp(weights) > 0)

    def _known_state(self) -> str:
        known = {
            s.provenance.round: blake2b(s.indices.tobytes(), digest_size=4).hexdigest()
            for s in (self._restored, self.selection)
            if s is not None
        }
        return ", ".join(f"the selection {name} of round {r}" for r, name in sorted(known.items())) or "no selection"

    def __len__(self) -> int:
        """Return how many positions of the current epoch (epoch 0 before the first `set_epoch`) this rank sees."""
        return self._share(self._length_in(self.epoch or 0))

    def _length_in(self, epoch: int) -> int:
        return self.task.n if self.round_of(epoch) is None else self.k

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
        self._weights_asked = True
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
            if self._plain is None or self._plain[0] is not self.selection:
                self._plain = self.selection, _tensors(asdict(self.selection))
            state["selection"] = self._plain[1]
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where a run stopped: in the same epoch, with the same subset, without selecting again.

        Raises:
            ScheduleError: the state was saved with another schedule, selector, budget or pool, or it is damaged.
        """
        self._check_state({"align": "warmup", **state})  # states of version 0.1 have no align
        kept = None if state["selection"] is None else self._from_state(state["selection"])
        if kept is not None:
            pool = self.task.fingerprint()
            if kept.provenance.fingerprint != pool:
                raise ScheduleError(
                    f"the state's selection was made from the pool {kept.provenance.fingerprint}, this sampler's is {pool}: "
                    "resume with the same data, read in the same evaluation view."
                )
        self._replaced, self._restored, self.selection = self.selection, kept, kept
        self._loaded(state["epoch"])

    def _from_state(self, plain: dict[str, Any]) -> Selection:
        """Make the selection of a state, and check that it is one of k picks of this pool."""
        try:
            kept = Selection.from_plain(_arrays(plain))
        except (KeyError, TypeError, ValueError) as why:
            raise ScheduleError(
                f"the selection of the state is damaged or edited ({why}): load another state."
            ) from why
        if (len(kept), kept.provenance.pool_size) != (self.k, self.task.n):
            raise ScheduleError(
                f"the selection of the state has {len(kept)} picks of {kept.provenance.pool_size} examples, and this sampler "
                f"selects {self.k} of {self.task.n}: load the state of this run."
            )
        return kept

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
            "align": self.align,
            "seed": self.seed,
        }


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

"""CoresetSampler: when to select, and which examples an epoch sees; the user's training loop stays as it is.

The first ω = `warmup` epochs see the whole pool. Later epochs see a selection, which is renewed every λ = `every` epochs, and at
once if a run starts or resumes inside an interval without a selection. A method that renews every epoch (rs2) does so; a method
that never renews (random) keeps its first selection.

    align="warmup":    select in the epochs e ≥ ω with (e − ω) mod λ = 0
    align="absolute":  select in the epochs e ≥ ω with e mod λ = 0; before the first of them the whole pool is seen

The second is Algorithm 2 of Xu et al., NeurIPS 2023. Where λ divides ω, the two are the same.
"""

from dataclasses import asdict, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.budget import Budget, resolve
from coreselect.choosing import check_selector, select
from coreselect.errors import ScheduleError
from coreselect.gradients.row_store import FolderStore
from coreselect.loop.epoch_sampler import EpochSampler
from coreselect.loop.factors import factors_at, factors_of
from coreselect.loop.kept import Kept
from coreselect.loop.plain_state import as_tensors, selection_from_state
from coreselect.loop.round_store import RoundStore
from coreselect.loop.state_checks import checked_epoch, entry
from coreselect.protocols import Progress, Selector
from coreselect.support import collectives, ranks
from coreselect.support.records import settings_of
from coreselect.support.type_checks import refuse_no_tensors, whole
from coreselect.task.attack_steps import with_attack_steps
from coreselect.task.dry_probe import dry_probe
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
        store: a folder in which the sweep of the current round is kept batch by batch, so that a run that is killed while it
            selects goes on from there. Rows of earlier rounds are deleted. One run at a time uses it, from its first epoch on.
        progress: of each selection, as for `coreselect.select`.
        share: whether the ranks of a process group share the sweeps of a selection, under rank 0's model (see
            `coreselect.select`); else every rank makes the whole selection by itself, under its own model.
        select_attack_steps: of the attack on the pool, for a task without an attack of its own: 1¼ radii in all. None: those of
            the loss's published attack, as in the published programs.

    `set_epoch` does all the work, in the main process. In a process group every rank calls it, and rank 0's selection is used.
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
        store: str | Path | None = None,
        progress: Progress | bool = False,
        share: bool = True,
        select_attack_steps: int | None = 1,
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
        steps = select_attack_steps
        self.select_attack_steps = None if steps is None else whole("select_attack_steps", steps, ScheduleError)
        self.task, self.selector, self.warmup, self.every = task, selector, warmup, every
        self.kept = Kept()
        self.align: Align = align
        task.storing(store)  # refuses a store for arrays here, not at the first selection
        self.progress = progress
        self.store = None if store is None else RoundStore(store)
        self.share = share
        self.k = resolve(budget, task.n)
        dry_probe(task, selector.requires)
        self.selection: Selection | None = None
        self._restored: Selection | None = None  # that of the last state, until a later round is selected
        self._replaced: Selection | None = None  # what the last state has replaced, until the next set_epoch
        # a selection and its plain form, since loaders ask at every batch; and its weight of every position
        self._plain: tuple[Selection, Any] | None = None
        self._factors: tuple[Selection, NDArray[np.float32]] | None = None

    def round_of(self, epoch: int) -> int | None:
        """Return the round of selection that an epoch trains on, or None for the whole pool."""
        since = epoch - self._first()
        if since < 0:
            return None
        return {"never": 0, "round": since // self.every, "epoch": since}[self.selector.renew]

    def _first(self) -> int:
        """Return the first epoch that sees a selection."""
        return self.warmup if self.align == "warmup" else -(-self.warmup // self.every) * self.every

    def _prepare(self, epoch: int) -> bool:
        """Select, if the schedule needs a selection that does not exist yet."""
        round, before = self.round_of(epoch), self.selection
        if self.store is not None and not self.store.begun:  # a folder that cannot be used is found before the warm-up
            begin = self.store.begin
            ranks.together(lambda _: begin(), "open its store")
        if round is not None:
            self.kept.begin((epoch - self._first()) // self.every)
            self.selection = self._known(round) or self._select(round)
        self._replaced = None
        return round is not None and self.selection is not before

    def _known(self, round: int) -> Selection | None:
        """Return the selection of a round: the current one, that of the last state, or that which the state has replaced."""
        known = (self.selection, self._restored, self._replaced)
        return next((s for s in known if s is not None and s.provenance.round == round), None)

    def _select(self, round: int) -> Selection:
        """Select for a round, under the model as it is now."""
        if self.share:
            chosen = self._select_here(round, share=True)
        else:
            mine = ranks.together(lambda _: self._select_here(round), "select")
            chosen = mine if ranks.world_size() == 1 else Selection.from_plain(collectives.of_rank_0(asdict(mine)))
        if self._restored is not None and round > self._restored.provenance.round:
            self._restored = None  # the run has gone on from the state
        return chosen

    def _select_here(self, round: int, *, share: bool = False) -> Selection:
        def one(store: FolderStore | None = None) -> Selection:
            own = {"round": round, "store": store, "progress": self.progress, "share": share}
            task = with_attack_steps(self.task, self.select_attack_steps)  # a loop may give another task in an epoch
            return select(replace(task, kept=self.kept.arrays), self.selector, self.k, self.seed, **own)

        return one() if self.store is None else self.store.selected(round, one)

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

        1 for the whole pool and for methods without weights; else the selection's weights, scaled to mean 1 over the selection,
        or over the rounds where a class has no pick in some of them (`PerClass(weighted=True)`).

        Raises:
            ScheduleError: a position is not in the current selection.
            ShapeError: they are no tensor.
        """
        refuse_no_tensors(indices=indices)
        self._weights_asked = True
        selection = None if self.epoch is None or self.round_of(self.epoch) is None else self.selection
        if selection is None or selection.weights is None:
            return torch.ones(indices.shape, device=indices.device)
        if self._factors is None or self._factors[0] is not selection:
            self._factors = selection, factors_of(selection, self.task.n)
        return factors_at(self._factors[1], indices)

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, the schedule and the selection as plain values and tensors (safe for weights-only loading)."""
        state: dict[str, Any] = {"epoch": self.epoch, **self._schedule(), "selection": None, "kept": self.kept.state()}
        if self.selection is not None:
            if self._plain is None or self._plain[0] is not self.selection:
                self._plain = self.selection, as_tensors(asdict(self.selection))
            state["selection"] = self._plain[1]
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where a run stopped: in the same epoch, with the same subset, without selecting again.

        Raises:
            ScheduleError: the state was saved with another schedule, selector, budget or pool, or it is damaged. Nothing changes.
        """
        epoch = checked_epoch(state, self._schedule(), align="warmup")  # states of version 0.1 have no align
        plain = entry(state, "selection")
        kept = None if plain is None else selection_from_state(plain, self.k, self.task.n)
        if kept is None and epoch is not None and self.round_of(epoch) is not None:
            raise ScheduleError(f"the state is of epoch {epoch}, and lacks its selection: load another state.")
        if kept is not None:
            pool = self.task.fingerprint()
            if kept.provenance.fingerprint != pool:
                raise ScheduleError(
                    f"the state's selection was made from the pool {kept.provenance.fingerprint}, this sampler's is {pool}: "
                    "resume with the same data, read in the same evaluation view."
                )
        self.kept.load(state.get("kept"), self.task.n)
        self._replaced, self._restored, self.selection = self.selection, kept, kept
        self._loaded(epoch)

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

"""InfoBatch: Qin, Wang, Zheng, Gu, Peng, Xu, Zhou, Shang, Sun, Xie, You, "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic
Data Pruning", ICLR 2024.

    H̄_t = mean of the last losses H_i;  in epoch t < δ·C each i with H_i < H̄_t is dropped with probability r
    weight_i = 1/(1 − r) where H_i < H̄_t, else 1;   E[Σ_{kept} weight_i ℓ_i] = Σ_i ℓ_i

and nothing is dropped in the last (1 − δ)·C of C epochs. An example without a loss yet is never dropped. Each draw is a function of
(seed, epoch, example), so it depends on no batch and no rank; the work is O(1) an example.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import Sampler

from coreselect.errors import NonFiniteError, ScheduleError, ShapeError, first_few
from coreselect.support.seeding import generator as seeded
from coreselect.support.seeding import seeds
from coreselect.types import Int64


class InfoBatchSampler(Sampler[int]):
    """Yield an epoch's positions, easy examples thinned out at random and the rest of them weighted up.

    In the loop: `set_epoch(epoch)` first; then for a batch's positions and per-example losses [B] train on
    `(losses * sampler.weights(indices)).mean()`, and hand the unweighted losses to `sampler.update(indices, losses)`.

    Args:
        n: examples in the pool, N ≥ 1.
        epochs: C ≥ 1, how many the run will have; decides when dropping ends.
        r: probability of dropping an example below the mean, in [0, 1); published 0.5.
        delta: δ in [0, 1], the share of the epochs that drop; published 0.875.
        seed: decides drops and orders.
        shuffle: a new order every epoch, a function of (seed, epoch); else ascending.
        rank, world_size: this process's share of the epoch; shares are equal in length, padded from the front. Losses are
            exchanged in `set_epoch`.

    Raises:
        ScheduleError: an impossible setting, at construction.
    """

    def __init__(
        self,
        n: int,
        epochs: int,
        r: float = 0.5,
        delta: float = 0.875,
        seed: int = 0,
        *,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if n < 1 or epochs < 1 or not 0 <= r < 1 or not 0 <= delta <= 1 or not 0 <= rank < world_size:
            raise ScheduleError(
                "InfoBatch needs n, epochs ≥ 1, r in [0, 1), delta in [0, 1] and 0 ≤ rank < world_size, got "
                f"{n}, {epochs}, {r}, {delta}, {rank} of {world_size}."
            )
        self.n, self.epochs, self.r, self.delta, self.seed = n, epochs, r, delta, seed
        self.shuffle, self.rank, self.world_size = shuffle, rank, world_size
        self.epoch: int | None = None
        self.losses = np.full(n, np.nan)  # H [N]; NaN: not seen yet
        self._since = np.zeros(n, dtype=bool)  # seen here since losses were last exchanged [N]
        self._easy = np.zeros(n, dtype=bool)  # H < mean when the epoch began [N]
        self._kept = np.ones(n, dtype=bool)  # in the present epoch [N]

    def drops(self, epoch: int) -> bool:
        """Return whether an epoch may drop: epoch < δ·C, exactly on the decimal that was written."""
        return epoch < Fraction(str(self.delta)) * self.epochs

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch: decide what it drops. The epoch that is running already is left as it is.

        Args:
            epoch: ≥ 0.
        Raises:
            ScheduleError: the epoch is negative.
        """
        if epoch < 0:
            raise ScheduleError(f"epochs count from 0, got {epoch}.")
        if epoch == self.epoch:
            return
        self.gather()
        seen = ~np.isnan(self.losses)
        self._easy = np.zeros(self.n, dtype=bool)
        if self.drops(epoch) and seen.any():
            self._easy[seen] = self.losses[seen] < self.losses[seen].mean()
        self._kept = ~self._easy
        easy = np.flatnonzero(self._easy)
        draws = seeds(self.seed, "infobatch", epoch, indices=easy).astype(np.float64) / 2.0**63  # uniform in [0, 1]
        self._kept[easy] = draws >= self.r
        self.epoch = epoch

    def __len__(self) -> int:
        """Count the indices of the present epoch on this rank; before the first `set_epoch`, of a whole one."""
        return -(-int(self._kept.sum()) // self.world_size)

    def __iter__(self) -> Iterator[int]:
        if self.epoch is None:
            raise ScheduleError(
                "call sampler.set_epoch(epoch) at the start of every epoch: it decides what the epoch sees."
            )
        order = np.flatnonzero(self._kept)
        if self.shuffle:
            order = order[torch.randperm(len(order), generator=seeded(self.seed, "order", self.epoch)).numpy()]
        if self.world_size > 1:
            order = np.resize(order, len(self) * self.world_size)[self.rank :: self.world_size]
        return iter(order.tolist())

    def weights(self, indices: Tensor) -> Tensor:
        """Return the factors for the per-example losses of some positions, float32, same shape and device.

        1/(1 − r) for those that were below the mean when the epoch began, else 1; not scaled to mean 1.

        Raises:
            ScheduleError: a position is not of the present epoch.
        """
        at = self._positions(indices)
        if not self._kept[at].all():
            raise ScheduleError("weights were asked for examples that the present epoch has dropped.")
        w = np.where(self._easy[at], 1 / (1 - self.r), 1.0).astype(np.float32)
        return torch.from_numpy(w).to(indices.device).reshape(indices.shape)

    def update(self, indices: Tensor, losses: Tensor) -> None:
        """Remember the last loss of some positions; it counts from the next epoch on.

        Args:
            indices: int64 [B], positions in the pool.
            losses: [B], the per-example losses before weighting, on any device; no gradient is kept.
        Raises:
            ShapeError: the shapes differ (a loss that is one number for a batch cannot be used).
            NonFiniteError: a loss is NaN or infinite; nothing of the batch is remembered.
            ScheduleError: a position is outside the pool.
        """
        if losses.shape != indices.shape:
            raise ShapeError(
                f"update needs a loss per example, got losses {tuple(losses.shape)} for indices {tuple(indices.shape)}: "
                "make the loss with reduction='none'."
            )
        at = self._positions(indices)
        values = losses.detach().to("cpu", torch.float64).reshape(-1).numpy()
        bad = at[~np.isfinite(values)]
        if len(bad):
            raise NonFiniteError(
                f"the losses of {first_few(bad.tolist())} are not finite: lower the learning rate.", bad.tolist()
            )
        self.losses[at] = values
        self._since[at] = True

    def gather(self) -> None:
        """Exchange the losses seen since the last exchange, in a process group: every rank must call.

        `set_epoch` does so; call it before `state_dict` where one rank's state is to hold what all have seen.
        """
        if self.world_size > 1 and dist.is_available() and dist.is_initialized():
            mine = np.flatnonzero(self._since)
            every: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(every, (mine, self.losses[mine]))
            for at, values in every:  # in the order of ranks: where two have seen one example, all keep the same
                self.losses[at] = values
        self._since[:] = False

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule, the losses and the present epoch, in plain values and tensors (safe for weights-only loading)."""
        arrays = {"losses": self.losses, "since": self._since, "easy": self._easy, "kept": self._kept}
        plain = {name: torch.from_numpy(a.copy()) for name, a in arrays.items()}
        return {"epoch": self.epoch, **self._schedule(), **plain}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a run stopped: the same epoch, the same drops from here on.

        Raises:
            ScheduleError: the state is of another schedule or pool.
        """
        for what, here in self._schedule().items():
            if state.get(what) != here:
                raise ScheduleError(f"the state is of {what} {state.get(what)!r}, this sampler has {here!r}.")
        self.losses, self._since, self._easy, self._kept = (
            state[name].cpu().numpy().copy() for name in ("losses", "since", "easy", "kept")
        )
        self.epoch = state["epoch"]

    def _schedule(self) -> dict[str, Any]:
        return {"pool_size": self.n, "epochs": self.epochs, "r": self.r, "delta": self.delta, "seed": self.seed}

    def _positions(self, indices: Tensor) -> Int64:
        """Flatten indices and refuse those outside the pool."""
        at = indices.detach().cpu().reshape(-1).numpy().astype(np.int64)
        if len(at) and not (at.min() >= 0 and at.max() < self.n):
            raise ScheduleError(f"positions lie in 0…{self.n - 1}, got {at.min()} to {at.max()}.")
        return at

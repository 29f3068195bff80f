"""InfoBatch: Qin, Wang, Zheng, Gu, Peng, Xu, Zhou, Shang, Sun, Xie, You, "InfoBatch: Lossless Training Speed Up by Unbiased
Dynamic Data Pruning", ICLR 2024.

    H̄_t = mean of the last losses H_i;  in epoch t < δ·C each i with H_i < H̄_t is dropped with probability r
    weight_i = 1/(1 − r) where H_i < H̄_t, else 1;   E[Σ_{kept} weight_i ℓ_i] = Σ_i ℓ_i

and nothing is dropped in the last (1 − δ)·C of C epochs. An example without a loss is never dropped. Each draw is a function of
(seed, epoch, example), so it does not depend on batches or ranks. The work is O(1) per example.
"""

from fractions import Fraction
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from coreselect.errors import NonFiniteError, ScheduleError, ShapeError, first_few
from coreselect.loop.epoch_sampler import EpochSampler
from coreselect.loop.state_checks import checked_epoch
from coreselect.support import ranks
from coreselect.support.array_checks import real_numbers
from coreselect.support.seeding import seeds
from coreselect.support.type_checks import refuse_no_tensors, whole
from coreselect.types import Float64, Int64


class InfoBatchSampler(EpochSampler):
    """Yield an epoch's positions: some easy examples are dropped at random, and the others get a larger weight.

    In the loop: call `set_epoch(epoch)` first. For a batch's positions and per-example losses [B], train on
    `(losses * sampler.weights(indices)).mean()`, and give the unweighted losses to `sampler.update(indices, losses)`.

    Args:
        n: examples in the pool, N ≥ 1.
        epochs: C ≥ 1, the number of epochs of the run; it decides when dropping ends.
        r: probability of dropping an example below the mean, in [0, 1); published 0.5.
        delta: δ in [0, 1], the share of the epochs that drop; published 0.875.
        seed: of drops and orders.
        shuffle: whether the order is random and new every epoch; else ascending.
        rank, world_size: this process's share of the epoch; all shares have the same length. None means those of the torch
            process group; under a wrapper that deals batches out itself, give 0 and 1. In a group, `set_epoch` exchanges losses.

    Raises:
        ScheduleError: a setting is out of range.
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
        rank: int | None = None,
        world_size: int | None = None,
    ) -> None:
        n, epochs = whole("n", n, ScheduleError, least=1), whole("epochs", epochs, ScheduleError, least=1)
        if not 0 <= r < 1 or not 0 <= delta <= 1:
            raise ScheduleError(f"InfoBatch needs r in [0, 1) and delta in [0, 1], got {r} and {delta}.")
        super().__init__(seed, shuffle, rank, world_size)
        self.n, self.epochs, self.r, self.delta = n, epochs, r, delta
        self.losses = np.full(n, np.nan)  # H [N]; NaN: not seen yet
        self._new = np.zeros(n, dtype=bool)  # has a loss that ranks have not exchanged yet [N]
        self._easy = np.zeros(n, dtype=bool)  # H < mean at the start of the epoch [N]
        self._kept = np.ones(n, dtype=bool)  # in the current epoch [N]
        self._exchanged = (
            ""  # a digest of the losses after the last exchange, the same on all ranks; "" before any loss
        )

    def drops(self, epoch: int) -> bool:
        """Return whether an epoch may drop examples: epoch < δ·C, computed exactly from the decimal number."""
        return epoch < Fraction(str(self.delta)) * self.epochs

    def _prepare(self, epoch: int) -> bool:
        """Decide what an epoch drops, from the losses of all ranks."""
        if epoch == self.epoch:
            return False
        self.losses, self._new = self.losses.copy(), self._new.copy()  # states keep those of the epoch before
        self.gather()
        seen = ~np.isnan(self.losses)
        self._easy = np.zeros(self.n, dtype=bool)
        if self.drops(epoch) and seen.any():
            known = self.losses[seen]
            self._easy[seen] = known < min(known.mean(), known.max())  # the mean of equal numbers may be rounded up
        self._kept = ~self._easy
        easy = np.flatnonzero(self._easy)
        draws = seeds(self.seed, "infobatch", epoch, indices=easy).astype(np.float64) / 2.0**63  # uniform in [0, 1]
        self._kept[easy] = draws >= self.r
        return True

    def __len__(self) -> int:
        """Return how many positions of the current epoch this rank sees; before the first `set_epoch`, of a whole epoch."""
        return self._share(int(self._kept.sum()))

    def _length_in(self, epoch: int) -> int:
        return int(self._kept.sum()) if epoch == self.epoch else self.n

    def _varies(self, epochs: int) -> bool:
        return self.r > 0 and epochs > 1 and self.drops(1)

    def _positions(self) -> Int64:
        return np.flatnonzero(self._kept)

    def weights(self, indices: Tensor) -> Tensor:
        """Return the factors of the per-example losses of some positions, float32, in the same shape and on the same device.

        1/(1 − r) for examples whose loss was below the mean at the start of the epoch, else 1; not scaled to mean 1.

        Raises:
            ScheduleError: the current epoch has dropped a position, or it is outside the pool, or no integer.
            ShapeError: they are no tensor.
        """
        refuse_no_tensors(indices=indices)
        self._weights_asked = True
        at = self._check_positions(indices)
        if not self._kept[at].all():
            raise ScheduleError("the current epoch has dropped an index: ask for weights of the batch's own indices.")
        w = np.where(self._easy[at], 1 / (1 - self.r), 1.0).astype(np.float32)
        return torch.from_numpy(w).to(indices.device).reshape(indices.shape)

    def update(self, indices: Tensor, losses: Tensor) -> None:
        """Store the last loss of some positions; it counts from the next epoch on.

        Args:
            indices: int64 [B], positions in the pool.
            losses: [B], the per-example losses without weights, on any device; gradients are not stored.
        Raises:
            ShapeError: the shapes differ (one number for a batch is not enough), something is no tensor, or losses are complex.
            NonFiniteError: a loss is NaN or infinite; no loss of the batch is stored.
            ScheduleError: a position is outside the pool, or no integer.
        """
        refuse_no_tensors(indices=indices, losses=losses)
        if losses.shape != indices.shape:
            raise ShapeError(
                f"update needs one loss per example, got losses {tuple(losses.shape)} for indices {tuple(indices.shape)}: "
                "compute the loss with reduction='none'."
            )
        at = self._check_positions(indices)
        values = real_numbers("losses", losses, torch.float64).reshape(-1)
        bad = at[~np.isfinite(values)]
        if len(bad):
            raise NonFiniteError(
                f"the losses of examples {first_few(bad.tolist())} are not finite: lower the learning rate.",
                bad.tolist(),
            )
        self.losses[at] = values
        self._new[at] = True

    def gather(self) -> None:
        """Exchange new losses between the ranks of a process group; every rank must call it.

        `set_epoch` calls it. Call it before `state_dict` if one rank's state shall hold the losses of all ranks.
        """
        if ranks.world_size() > 1:
            mine = np.flatnonzero(self._new)
            every: list[Any] = [None] * ranks.world_size()
            dist.all_gather_object(every, (mine, self.losses[mine]))
            for at, values in every:  # in the order of ranks: if two have seen an example, all store the same loss
                self.losses[at] = values
        self._new[:] = False
        self._exchanged = _digest(self.losses)

    @property
    def pool_size(self) -> int:
        """N, the number of examples in the pool."""
        return self.n

    def _needs_weights(self, by_loader: bool) -> bool:
        return by_loader and self.r > 0 and bool((self._easy & self._kept).any())

    def _known_state(self) -> str:
        return f"the losses {self._exchanged}" if self._exchanged else "no losses"

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule, the losses and the current epoch as plain values and tensors (safe for weights-only loading).

        The tensors share memory with the sampler until its next epoch. So a loader that asks for the state when it draws a
        batch, ahead of training, still saves the losses of all batches that were trained on. A run that resumes in the middle
        of an epoch gives the losses of the batches that were left again.
        """
        arrays = {"losses": self.losses, "since": self._new, "easy": self._easy, "kept": self._kept}
        plain = {name: torch.from_numpy(a) for name, a in arrays.items()}
        return {"epoch": self.epoch, **self._schedule(), "exchanged": self._exchanged, **plain}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where a run stopped: in the same epoch, with the same drops from here on.

        Raises:
            ScheduleError: the state was saved with another schedule or pool, or it is damaged. Nothing changes.
        """
        epoch = checked_epoch(state, self._schedule())
        losses, new, easy, kept = (
            self._from_state(name, state.get(name)) for name in ("losses", "since", "easy", "kept")
        )
        exchanged = state.get("exchanged", _digest(losses))  # states of version 0.1 have none
        if not kept.any() or not (kept | easy).all() or not isinstance(exchanged, str):
            raise ScheduleError(
                "the state is damaged or edited: an epoch keeps some examples, and drops none but easy ones: load another state."
            )
        self.losses, self._new, self._easy, self._kept, self._exchanged = losses, new, easy, kept, exchanged
        self._loaded(epoch)

    def _from_state(self, name: str, value: Any) -> Any:
        """Return an array [N] of a state; raise ScheduleError if it is none."""
        kind = torch.float64 if name == "losses" else torch.bool
        if not isinstance(value, Tensor) or value.shape != (self.n,) or value.dtype != kind or value.isinf().any():
            got = f"{value.dtype} {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ScheduleError(
                f"{name!r} of the state is damaged or edited: {got}, and {self.n} finite {kind} are needed: load another state."
            )
        return value.cpu().numpy().copy()

    def _schedule(self) -> dict[str, Any]:
        return {"pool_size": self.n, "epochs": self.epochs, "r": self.r, "delta": self.delta, "seed": self.seed}

    def _check_positions(self, indices: Tensor) -> Int64:
        """Flatten indices; raise ScheduleError if one is outside the pool, or if they are no integers."""
        given = indices.detach().cpu().reshape(-1).numpy()
        if len(given) and given.dtype.kind not in "iu":  # an empty list makes a tensor of floats
            raise ScheduleError(
                f"positions are integers, got {indices.dtype}: give the indices that come with the batch, as Indexed yields them."
            )
        at = given.astype(np.int64) if len(given) else np.empty(0, np.int64)
        if len(at) and not (at.min() >= 0 and at.max() < self.n):
            raise ScheduleError(f"positions lie in 0…{self.n - 1}, got {at.min()} to {at.max()}.")
        return at


def _digest(losses: Float64) -> str:
    """Return a short digest of losses; "" if there is none."""
    return "" if np.isnan(losses).all() else blake2b(losses.tobytes(), digest_size=4).hexdigest()

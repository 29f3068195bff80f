"""A seeded random projection of rows and queries: the count sketch (Charikar, Chen, Farach-Colton 2002).

    (S v)_w = Σ_{p : h(p) = w} s(p)·v_p,   h uniform on 1…W, s uniform on ±1, both drawn from the seed

    E⟨Sa, Sb⟩ = ⟨a, b⟩,   Var⟨Sa, Sb⟩ ≤ (‖a‖²‖b‖² + ⟨a, b⟩²) / W ≤ 2‖a‖²‖b‖² / W      (Weinberger et al. 2009, appendix)

So |⟨Sa, Sb⟩ − ⟨a, b⟩| ≥ t·‖a‖‖b‖ has a probability of at most 2 / (W t²).
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from coreselect.errors import ShapeError
from coreselect.support.seeding import generator


@dataclass(frozen=True)
class Sketch:
    """Project rows [M, P] to [M, width]; inner products are kept approximately, within the bound at the top of this file.

    Args:
        width: W ≥ 1; with 4096 the error is below 0.1·‖a‖‖b‖ in at least 95 % of draws.
        seed: the seed of the hash and of the signs.
    Raises:
        ShapeError: the width is less than 1.
    """

    width: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ShapeError(f"a sketch needs width ≥ 1, got {self.width}.")

    def __call__(self, rows: Tensor) -> Tensor:
        """Project [..., P] to [..., width]; the map is linear and passes over the numbers once.

        One device gives one answer, bit for bit; the CPU adds a bucket's numbers one after the other, a GPU in a tree.
        """
        bucket, sign = _table(self.width, self.seed, rows.shape[-1], str(rows.device))
        signed = rows * sign.to(rows.dtype)
        if rows.device.type != "cpu":  # adding into buckets there has no fixed order; a sum of gathered numbers has one
            slots = _slots(self.width, self.seed, rows.shape[-1], str(rows.device))
            return F.pad(signed, (0, 1)).index_select(-1, slots).unflatten(-1, (self.width, -1)).sum(-1)
        return rows.new_zeros(*rows.shape[:-1], self.width).index_add_(-1, bucket, signed)


@lru_cache(maxsize=2)
def _table(width: int, seed: int, p: int, device: str) -> tuple[Tensor, Tensor]:
    draws = generator(seed, "sketch", width)
    bucket = torch.randint(width, (p,), generator=draws, dtype=torch.int32)  # [P]
    sign = torch.randint(2, (p,), generator=draws, dtype=torch.int8) * 2 - 1  # [P]
    return bucket.to(device), sign.to(device)


@lru_cache(maxsize=2)
def _slots(width: int, seed: int, p: int, device: str) -> Tensor:
    """Return the places of the numbers of each bucket, int32 [W·L], L the most that a bucket has; free slots have place P."""
    bucket = _table(width, seed, p, "cpu")[0].long()
    order = bucket.argsort(stable=True)  # [P]
    counts = torch.bincount(bucket, minlength=width)  # [W]
    slots = torch.full((width, max(1, int(counts.max()))), p, dtype=torch.int32)
    first = counts.cumsum(0) - counts  # [W], where each bucket begins in `order`
    slots[bucket[order], torch.arange(p) - first[bucket[order]]] = order.int()
    return slots.flatten().to(device)

"""A seeded random projection of rows and queries: the count sketch (Charikar, Chen, Farach-Colton 2002).

    (S v)_w = Σ_{p : h(p) = w} s(p)·v_p,   h uniform on 1…W, s uniform on ±1, both drawn from the seed

    E⟨Sa, Sb⟩ = ⟨a, b⟩,   Var⟨Sa, Sb⟩ ≤ (‖a‖²‖b‖² + ⟨a, b⟩²) / W ≤ 2‖a‖²‖b‖² / W      (Weinberger et al. 2009, appendix)

so |⟨Sa, Sb⟩ − ⟨a, b⟩| ≥ t·‖a‖‖b‖ with probability at most 2 / (W t²).
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from coreselect.errors import ShapeError
from coreselect.support.seeding import generator


@dataclass(frozen=True)
class Sketch:
    """Project rows [M, P] to [M, width], a named approximation of their inner products (bound in the module's head).

    Args:
        width: W ≥ 1; 4096 errs by less than 0.1·‖a‖‖b‖ in at least 95 % of draws.
        seed: of the hash and the signs.
    """

    width: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ShapeError(f"a sketch needs width ≥ 1, got {self.width}.")

    def __call__(self, rows: Tensor) -> Tensor:
        """[..., P] → [..., width]; linear, at one pass over the numbers."""
        bucket, sign = _table(self.width, self.seed, rows.shape[-1], str(rows.device))
        out = rows.new_zeros(*rows.shape[:-1], self.width)
        return out.index_add_(-1, bucket, rows * sign.to(rows.dtype))


@lru_cache(maxsize=2)
def _table(width: int, seed: int, p: int, device: str) -> tuple[Tensor, Tensor]:
    draws = generator(seed, "sketch", width)
    bucket = torch.randint(width, (p,), generator=draws, dtype=torch.int32)  # [P]
    sign = torch.randint(2, (p,), generator=draws, dtype=torch.int8) * 2 - 1  # [P]
    return bucket.to(device), sign.to(device)

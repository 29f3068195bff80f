"""The random starts of attacks, drawn by the processes that read the items, while the model is at work on the batch before.

The numbers of an example depend on its position alone, so they are the bits that the sweep would draw itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coreselect.data.reading import unpack
from coreselect.support import seeding


@dataclass(frozen=True)
class Starts:
    """Draw the starts of a batch of items; it can be sent to another process.

    Args:
        seed, round: of the selection.
        views: the numbers of the attacked views.
    """

    seed: int
    round: int
    views: tuple[int, ...]

    def __call__(self, positions: Sequence[int], batch: Any) -> tuple[Tensor, ...] | None:
        """Return float32 [B, …] in [−1, 1) for each view; None for a batch of another form than one floating-point tensor."""
        x, _ = unpack(batch)
        if not (isinstance(x, Tensor) and x.is_floating_point() and x.device.type == "cpu"):
            return None
        return tuple(starts(torch.empty(x.shape), self.seed, self.round, view, positions) for view in self.views)


def starts(like: Tensor, seed: int, round: int, view: int, positions: Any) -> Tensor:
    """Draw the starts of one view of some examples, [B, …] in [−1, 1), with the dtype and the device of `like`."""
    indices = np.asarray(positions, np.int64)
    return seeding.noise(like, seeding.seeds(seed, "attack", round, view, indices=indices))

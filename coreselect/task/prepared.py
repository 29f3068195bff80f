"""The pool as a head reads it, and means over groups."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coreselect.gradients.rows import Groups
from coreselect.protocols import Stream


@dataclass(frozen=True)
class PreparedPool:
    """The pool as the head will read it: prepared inputs of each stream [n, …], and targets [n, …] or None."""

    prepared: dict[Stream, Any]
    labels: Any


def group_means(values: Tensor, groups: Groups) -> Tensor:
    """Average values [n, …] over each group: [M, …]."""
    return torch.stack([values[torch.from_numpy(np.asarray(g)).to(values.device)].mean(0) for g in groups])

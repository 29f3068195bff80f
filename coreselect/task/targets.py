"""What the targets of a dataset are: class numbers, or something else that only a loss of the user's own understands."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from coreselect.losses.targets import reads_classes
from coreselect.protocols import Loss
from coreselect.support.structure import described


@dataclass(frozen=True)
class Targets:
    """What the items of a dataset carry beside their inputs.

    Attributes:
        classes: whether it is one class number for each item.
        said: what it is, in words: `multi-label [N, 5] float32`.
    """

    classes: bool
    said: str


def kind_of(y: Any, loss: Loss) -> Targets | None:
    """Say what the targets of a first item are, read as a batch of one; None if there are none."""
    if y is None:
        return None
    if not isinstance(y, Tensor):
        return Targets(False, described(y))
    if y.numel() == 1:
        whole = not y.is_floating_point() or (reads_classes(loss) and torch.equal(y, y.round()))
        return Targets(whole and y.dim() <= 2, ("classes " if whole else "fractions or other numbers ") + described(y))
    bits = y.dim() == 2 and bool(((y == 0) | (y == 1)).all())
    return Targets(False, ("one-hot or multi-label " if bits else "") + described(y))


def why_no_classes(targets: Targets | None) -> str | None:
    """Say why there are no classes, as the rest of a sentence; None if there are, or no targets at all."""
    return None if targets is None or targets.classes else f"this task's targets are {targets.said}"

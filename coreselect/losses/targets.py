"""How a loss reads the targets of a batch: as class numbers, or as the items carry them."""

from typing import Any

from coreselect.data.reading import class_numbers
from coreselect.protocols import Loss


def reads_classes(loss: Loss) -> bool:
    """Return whether the loss reads class numbers; any other loss gets the targets as the items carry them."""
    return bool(getattr(loss, "reads_classes", False))


def for_loss(loss: Loss, y: Any, n: int) -> Any:
    """Return the targets of a batch as the loss reads them: class numbers int64 [n], or untouched."""
    return class_numbers(y, n) if reads_classes(loss) else y

"""The value of a loss, from the outputs of its streams."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from coreselect.protocols import Loss, Stream, Views


def loss_value(loss: Loss, outputs: Mapping[Stream, Tensor], labels: Any) -> Tensor:
    """Compute the loss from the outputs [B, C] of each (route, view): [B] for a per-example loss, else a scalar.

    Args:
        labels: the targets as the loss reads them, [B, …], or None for a loss without labels.
    """
    return loss(_outputs_of(outputs, "adversarial"), _outputs_of(outputs, "natural"), labels)


def _outputs_of(outputs: Mapping[Stream, Tensor], route: str) -> Views:
    """Return the outputs of one route, in the order of the views."""
    return tuple(outputs[stream] for stream in sorted(outputs) if stream[0] == route)

"""Batches of dictionaries that carry the positions of their examples, for trainers that hand a batch to the model."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

POSITION = "coreset_position"  # the key of a batch that holds int64 [B]


class WithPositions:
    """A collate function around another: items (item, i) of `Indexed` become its batch, with the positions under `POSITION`.

    Args:
        collate: makes a dictionary of tensors from a list of items.
    """

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self.collate = collate

    def __call__(self, items: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
        """Return the batch of the items, and where they are in the pool."""
        batch = self.collate([item[0] if len(item) == 2 else item[:-1] for item in items])
        return {**batch, POSITION: torch.tensor([item[-1] for item in items])}

"""Count which examples of the pool a run has trained on."""

from typing import Any

import torch

from coreselect import CoresetSampler


class SeenExamples:
    """The examples of a pool of `n` that any epoch has trained on."""

    def __init__(self, n: int) -> None:
        self.mask = torch.zeros(n, dtype=torch.bool)  # [N]

    def add(self, sampler: CoresetSampler) -> None:
        """Mark the examples of the sampler's current epoch."""
        whole = sampler.round_of(sampler.epoch or 0) is None or sampler.selection is None
        self.mask[slice(None) if whole else torch.from_numpy(sampler.selection.indices)] = True  # type: ignore[union-attr]

    @property
    def share(self) -> float:
        """The share of the pool that was seen, in [0, 1]."""
        return self.mask.float().mean().item()

    def state_dict(self) -> dict[str, Any]:
        """Return the mask."""
        return {"mask": self.mask}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved mask."""
        self.mask = state["mask"]

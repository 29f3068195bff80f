"""What selectors keep between the epochs of a round: emptied when a round begins, saved with the sampler's state."""

from typing import Any

import torch

from coreselect.errors import ScheduleError
from coreselect.loop.plain_state import as_tensors
from coreselect.types import Int64


class Kept:
    """The arrays of one sampler's task, and the round that they were computed in.

    Attributes:
        arrays: name → int64 [N]; selections fill it (`coreselect.task.context.Context.keep`).
    """

    def __init__(self) -> None:
        self.arrays: dict[str, Int64] = {}
        self._interval: int | None = None

    def begin(self, interval: int) -> None:
        """Drop the arrays if they are of another round."""
        if interval != self._interval:
            self.arrays.clear()
            self._interval = interval

    def state(self) -> dict[str, Any] | None:
        """Return the arrays and their round as tensors and plain values; None if there are none."""
        return {"interval": self._interval, "arrays": as_tensors(self.arrays)} if self.arrays else None

    def load(self, state: dict[str, Any] | None, n: int) -> None:
        """Continue from a state.

        Raises:
            ScheduleError: it is damaged, or not of a pool of n examples; what was kept stays.
        """
        if state is None:
            self.arrays.clear()
            self._interval = None
            return
        arrays = state.get("arrays") if isinstance(state, dict) else None
        good = isinstance(arrays, dict) and all(
            isinstance(a, torch.Tensor) and a.dtype == torch.int64 and a.shape == (n,) for a in arrays.values()
        )
        if not good or not isinstance(arrays, dict) or type(state.get("interval")) is not int:
            raise ScheduleError(
                f"what the state keeps for the selector is damaged, or not of a pool of {n} examples: load another state."
            )
        self.arrays.clear()
        self.arrays.update({str(name): a.numpy().copy() for name, a in arrays.items()})
        self._interval = state["interval"]

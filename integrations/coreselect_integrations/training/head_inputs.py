"""What the head of a network reads, seen while the network trains: for a `History` that keeps features."""

from types import TracebackType
from typing import Any

from torch import Tensor, nn


class HeadInputs:
    """While the block runs, `last` is the input [B, …] of a module in its last call.

    Args:
        head: the module; None sees nothing.
    """

    def __init__(self, head: nn.Module | None) -> None:
        self._head, self._hook = head, None
        self.last: Tensor | None = None

    def __enter__(self) -> "HeadInputs":
        if self._head is not None:
            self._hook = self._head.register_forward_pre_hook(self._see)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, why: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hook is not None:
            self._hook.remove()
        self.last = None

    def _see(self, _head: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.last = inputs[0].detach()

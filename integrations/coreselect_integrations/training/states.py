"""Saved states without devices, so that a run continues on any machine: eight GPUs, one GPU, none."""

from collections.abc import Mapping
from copy import copy
from typing import Any

from torch import Tensor


def on_cpu(state: Any, known: dict[Any, Tensor] | None = None) -> Any:
    """Return a state with every tensor on the CPU; dictionaries, lists and tuples keep their kind and their order.

    Args:
        state: of a module, an optimiser, or what holds such states.
        known: with a dictionary, every tensor is a copy that later training does not change, and is kept there: tensors that
            are one stay one. None: tensors that are on the CPU already are shared.
    """
    if isinstance(state, Tensor):
        if known is None or state.device.type != "cpu":
            return state.cpu()
        key = (state.data_ptr(), state.shape, state.stride(), state.dtype)
        if not state.numel() or key not in known:
            known[key] = state.detach().clone()
        return known[key]
    if isinstance(state, dict):
        moved = copy(state)  # keeps the versions that a module's state carries as an attribute
        moved.update((k, on_cpu(v, known)) for k, v in state.items())
        return moved
    if isinstance(state, Mapping):
        return {k: on_cpu(v, known) for k, v in state.items()}
    if isinstance(state, list):
        return [on_cpu(v, known) for v in state]
    if isinstance(state, tuple):
        parts = [on_cpu(v, known) for v in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state

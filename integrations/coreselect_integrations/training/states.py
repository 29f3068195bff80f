"""Saved states without devices, so that a run continues on any machine: eight GPUs, one GPU, none."""

from collections.abc import Mapping
from copy import copy
from typing import Any

from torch import Tensor


def on_cpu(state: Any) -> Any:
    """Return a state with every tensor on the CPU; dictionaries, lists and tuples keep their kind and their order."""
    if isinstance(state, Tensor):
        return state.cpu()
    if isinstance(state, dict):
        moved = copy(state)  # keeps the versions that a module's state carries as an attribute
        moved.update((k, on_cpu(v)) for k, v in state.items())
        return moved
    if isinstance(state, Mapping):
        return {k: on_cpu(v) for k, v in state.items()}
    if isinstance(state, list):
        return [on_cpu(v) for v in state]
    if isinstance(state, tuple):
        parts = [on_cpu(v) for v in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state

"""Tensors in dictionaries, lists and tuples, such as tokenised text, several inputs, or targets with parts.

Every function here treats one tensor as the simplest structure, so that callers need no cases.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def leaves(x: Any) -> list[Tensor]:
    """Return the tensors of a structure, in order; anything else in it is left out."""
    if isinstance(x, Tensor):
        return [x]
    if isinstance(x, Mapping):
        return [t for part in x.values() for t in leaves(part)]
    return [t for part in x for t in leaves(part)] if isinstance(x, list | tuple) else []


def is_structure(x: Any) -> bool:
    """Return whether x is one tensor, or a dictionary, list or tuple of nothing but tensors, at any depth."""
    if isinstance(x, Mapping | list | tuple):
        parts = list(x.values() if isinstance(x, Mapping) else x)
        return bool(parts) and all(is_structure(p) for p in parts)
    return isinstance(x, Tensor)


def mapped(function: Callable[[Tensor], Any], x: Any) -> Any:
    """Apply a function to every tensor; the result is a plain dictionary, list or tuple of the same form."""
    if isinstance(x, Tensor):
        return function(x)
    if isinstance(x, Mapping):
        return {k: mapped(function, part) for k, part in x.items()}
    if isinstance(x, list | tuple):
        parts = [mapped(function, part) for part in x]
        if isinstance(x, list):
            return parts
        return type(x)(*parts) if hasattr(x, "_fields") else tuple(parts)
    return x


def rebuilt(form: Any, tensors: Sequence[Tensor]) -> Any:
    """Return a structure of the same form as another one, with other tensors, in the order of `leaves`."""
    rest = iter(tensors)
    return mapped(lambda _: next(rest), form)


def size(x: Any) -> int:
    """Return B, the length of the first tensor."""
    return len(leaves(x)[0])


def taken(x: Any, index: Any) -> Any:
    """Index every tensor of a structure [B, …]; None stays None."""
    return mapped(lambda t: t[index], x)


def joined(parts: Sequence[Any]) -> Any:
    """Join structures of the same form along their batches."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, Mapping):
        return {k: joined([p[k] for p in parts]) for k in first}
    if isinstance(first, list | tuple):
        made = [joined(same) for same in zip(*parts, strict=True)]
        return made if isinstance(first, list) else type(first)(*made) if hasattr(first, "_fields") else tuple(made)
    return first


def described(x: Any, batch: str | None = "N") -> str:
    """Say in a few words what a structure is: `[N, 5] float32`, or `a dictionary of input_ids, mask`.

    Args:
        batch: a word for the first dimension; None: its number.
    """
    if isinstance(x, Tensor):
        shape = [str(s) for s in x.shape]
        if batch is not None and shape:
            shape[0] = batch
        return f"[{', '.join(shape)}] {str(x.dtype).removeprefix('torch.')}"
    if isinstance(x, Mapping):
        return f"a dictionary of {', '.join(map(str, x))}"
    if isinstance(x, list | tuple):
        return f"a {type(x).__name__} of {len(x)}"
    return f"a {type(x).__name__}"

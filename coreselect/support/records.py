"""What provenance writes down: settings as plain values, a digest of weights, and the versions that made an answer."""

import platform
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from hashlib import blake2b
from importlib import metadata
from typing import Any

import torch
from torch import Tensor


def settings_of(thing: Any) -> Any:
    """Describe a setting as JSON-ready values: dataclasses as {"type": name, field: …}, callables by their name."""
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if is_dataclass(thing) and not isinstance(thing, type):
        return {"type": type(thing).__name__, **{f.name: settings_of(getattr(thing, f.name)) for f in fields(thing)}}
    if isinstance(thing, Mapping):
        return {str(k): settings_of(v) for k, v in thing.items()}
    if isinstance(thing, list | tuple):
        return [settings_of(v) for v in thing]
    return getattr(thing, "__qualname__", None) or repr(thing)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a selection's numbers depend on."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    """Look the versions up once: each is a file to find and read, and rs2 selects every epoch."""
    out = {"python": platform.python_version()}
    for package in ("coreselect", "torch", "numpy", "scipy", "faiss-cpu", "faiss-gpu", "POT"):
        try:
            out[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return out


def digest_of(state: Mapping[str, Tensor], size: int = 16) -> str:
    """Return 2·size hexadecimal digits that stand for the tensors of a state dict, by name and bits."""
    out = blake2b(digest_size=size)
    for name, value in state.items():
        out.update(name.encode())
        out.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return out.hexdigest()

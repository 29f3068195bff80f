"""The contents of provenance: settings as plain values, a digest of weights, and the versions of packages."""

import platform
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from hashlib import blake2b
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")  # differs between runs and between processes


def settings_of(thing: Any) -> Any:
    """Describe a setting by values that JSON can hold: a dataclass as {"type": name, field: …}, a callable by its name, an array
    by a digest.
    """
    if thing is None or isinstance(thing, bool | int | float | str):
        return thing
    if is_dataclass(thing) and not isinstance(thing, type):
        return {"type": type(thing).__name__, **{f.name: settings_of(getattr(thing, f.name)) for f in fields(thing)}}
    if isinstance(thing, Mapping):
        return {str(k): settings_of(v) for k, v in thing.items()}
    if isinstance(thing, np.ndarray):
        digest = blake2b(np.ascontiguousarray(thing).tobytes(), digest_size=8).hexdigest()
        return f"array {thing.dtype} {list(thing.shape)} {digest}"
    if isinstance(thing, list | tuple):
        return [settings_of(v) for v in thing]
    return getattr(thing, "__qualname__", None) or _ADDRESS.sub("", repr(thing))


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that the numbers of a selection depend on."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    """Look up the versions once: each lookup reads a file, and rs2 selects in every epoch."""
    out = {"python": platform.python_version()}
    for package in ("coreselect", "torch", "numpy", "scipy", "faiss-cpu", "faiss-gpu", "POT"):
        try:
            out[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return out


def digest_of(state: Mapping[str, Tensor], size: int = 16) -> str:
    """Return a digest of the names and the bits of the tensors of a state dict: 2·size hexadecimal digits."""
    out = blake2b(digest_size=size)
    for name, value in state.items():
        out.update(name.encode())
        if value.numel():  # an empty tensor cannot be seen as bytes
            out.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return out.hexdigest()

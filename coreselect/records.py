"""What provenance writes down: settings as plain values, and the versions that made an answer."""

import platform
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import metadata
from typing import Any


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

"""Code of the user's that a command names: it is loaded once, and known by its name with a digest of its file.

    name = admit("nets.py:make", "network", "--model")     # 'nets.py:make@3f2a90c1'
    make = admitted(name, "network", "--model")

Files of runs keep such a name and never code. What was not admitted in this process is refused, so that opening a file runs
nothing; what was admitted from another text of the file is refused too.
"""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coreselect.errors import RequirementError
from coreselect.support.factories import resolve

_ADMITTED: dict[str, Callable[..., Any]] = {}


def admit(spec: str, what: str) -> str:
    """Load a function or class of the user's and return its name, `file.py:name@digest`.

    Args:
        spec: `path/to/file.py:name` or `package.module:name`; the working directory is importable.
        what: what it is for, in messages.
    Raises:
        DataError, UnknownNameError: see `coreselect.support.factories.resolve`.
    """
    found = resolve(spec, what)
    where, _, name = spec.rpartition(":")
    file = Path(where) if where.endswith(".py") else Path(getattr(sys.modules[where], "__file__", None) or "")
    digest = hashlib.blake2b(file.read_bytes() if file.is_file() else where.encode(), digest_size=4).hexdigest()
    known = f"{Path(where).name if where.endswith('.py') else where}:{name}@{digest}"
    _ADMITTED[known] = found
    return known


def is_own(name: str) -> bool:
    """Say whether a name is one that `admit` gives."""
    return ":" in name and "@" in name


def admitted(name: str, what: str, option: str) -> Callable[..., Any]:
    """Return what was admitted under a name.

    Args:
        what, option: what it is, and the option that names it, in messages.
    Raises:
        RequirementError: nothing was, or its file had another text.
    """
    if name in _ADMITTED:
        return _ADMITTED[name]
    spec = name.partition("@")[0]
    other = next((n for n in reversed(_ADMITTED) if n.partition("@")[0] == spec), None)
    if other is not None:
        why = (
            f"the {what} is that of {name}, and {other} was given, whose file has another text: give the file as it was, or "
            "begin anew."
        )
        raise RequirementError(why)
    raise RequirementError(f"the {what} is made by code of yours, {name}: give it with {option} {spec}.")

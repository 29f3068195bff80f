"""Objects named on a command line: `package.module:factory` and `path/to/file.py:factory`."""

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from coreselect.errors import DataError, UnknownNameError


def is_spec(text: str) -> bool:
    """Say whether a text has the form `package.module:factory` or `path/to/file.py:factory`."""
    where, _, name = text.rpartition(":")
    module = where.endswith(".py") or all(part.isidentifier() for part in where.split("."))
    return module and bool(name) and all(part.isidentifier() for part in name.split("."))


def resolve(spec: str, what: str) -> Callable[..., Any]:
    """Return the callable that `spec` names.

    A module is imported as if from the current folder. A file is run like a script: while it is loaded, it can import
    modules from its own folder. A file is loaded again only when its content has changed.

    Args:
        spec: `package.module:factory`, `package.module:Class.method` or `path/to/file.py:factory`.
        what: what the object is for, named in messages: "model" or "dataset".
    Raises:
        DataError: the spec has another form, or the module cannot be found or imported, or ends the program.
        UnknownNameError: the module has no such name, or it is not callable.
    """
    if not is_spec(spec):
        raise DataError(f"{what} {spec!r} is not of the form package.module:factory or path/to/file.py:factory.")
    where, _, name = spec.rpartition(":")
    try:
        module = _from_file(Path(where), what) if where.endswith(".py") else _from_name(where)
    except DataError:
        raise
    except SystemExit as why:
        raise DataError(
            f"{what} {spec!r}: {where} ends the program when it is imported: put that under if __name__ == '__main__'."
        ) from why
    except Exception as why:  # the code of the user may raise anything
        said = " ".join(str(why).split())[:200]
        raise DataError(f"{what} {spec!r}: importing {where} failed ({type(why).__name__}: {said}).") from why
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, [n for n in vars(found) if not n.startswith("_")], 1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise UnknownNameError(f"{what} {spec!r}: {where} has no {part!r}{hint}")
        found = getattr(found, part)
    if not callable(found):
        raise UnknownNameError(f"{what} {spec!r}: {name} is a {type(found).__name__}, a function or class is needed.")
    return found


def called_with(function: Callable[..., Any], known: Mapping[str, Any]) -> Any:
    """Call a function of the user's with those of the known arguments that it names; it may name none.

    Raises:
        DataError: it ends the program.
    """
    try:
        named = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        given: dict[str, Any] = {}
    else:
        every = any(p.kind is p.VAR_KEYWORD for p in named)
        given = dict(known) if every else {p.name: known[p.name] for p in named if p.name in known}
    try:
        return function(**given)
    except SystemExit as why:
        name = getattr(function, "__qualname__", type(function).__name__)
        raise DataError(f"the function {name} ends the program, and is to return something: raise an error.") from why


def source_of(spec: str) -> Path | None:
    """Return the file in which the object of a spec is, without running it; None if there is no such file."""
    where = spec.rpartition(":")[0]
    if where.endswith(".py"):
        return Path(where)
    try:
        with _importable(Path.cwd()):
            found = importlib.util.find_spec(where)
    except (ImportError, ValueError):
        return None
    return Path(found.origin) if found is not None and found.has_location and found.origin else None


def _from_name(where: str) -> ModuleType:
    with _importable(Path.cwd()):
        return importlib.import_module(where)


def _from_file(path: Path, what: str) -> ModuleType:
    try:
        path = path.resolve()
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise DataError(f"{what}: {path} is no ordinary file, and one of Python code is needed: give its name.")
        digest = hashlib.blake2b(os.fsencode(path) + b"\0" + path.read_bytes(), digest_size=6).hexdigest()
    except OSError as why:
        raise DataError(f"{what}: {path} cannot be read ({why.strerror}).") from why
    name = f"coreselect_file_{digest}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # noqa: PT018  # it ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs, as Python does: dataclasses and pickle look up the module
    try:
        with _importable(path.parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Put a folder first on `sys.path` while the block runs."""
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)

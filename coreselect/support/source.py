"""The first docstring line of a function or class, read from its source, so that listing things imports none of them."""

import ast
import inspect
import re
from functools import cache
from importlib import import_module
from importlib.util import find_spec

QUOTES = '"""'


def first_docstring_line(module: str, name: str) -> str:
    """Return the first line of the docstring of `module.name`; empty where there is none.

    The module is not run, only the packages that hold it are imported. A module without source is imported.

    Raises:
        ImportError: there is no such module.
    """
    source = _source(module)
    found = None if source is None else (_start_of(name, source) or _whole(name, source))
    if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        text = ast.get_docstring(found)
    else:
        text = inspect.getdoc(getattr(import_module(module), name))
    return (text or "").partition("\n")[0]


@cache
def _source(module: str) -> str | None:
    """Read the source of a module; None where it has none.

    Raises:
        ImportError: there is no such module.
    """
    spec = find_spec(module)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    return getattr(spec.loader, "get_source", lambda _: None)(module)


def _start_of(name: str, source: str) -> ast.stmt | None:
    """Parse a definition up to the end of its docstring, a small part of most files.

    Returns:
        None where that is not plain: several definitions, or a text that goes on behind the quotes.
    """
    at = [m.start() for m in re.finditer(rf"^(?:class|def|async def) {re.escape(name)}\b", source, re.MULTILINE)]
    parts = source[at[0] :].split(QUOTES, 2) if len(at) == 1 else []
    if len(parts) < 3 or not re.match(r"[ \t]*(\n|$)", parts[2]):
        return None
    try:
        return ast.parse(QUOTES.join((*parts[:2], ""))).body[0]
    except SyntaxError:
        return None


def _whole(name: str, source: str) -> ast.stmt | None:
    """Parse all of the source, and return the last definition of the name."""
    return next((node for node in reversed(ast.parse(source).body) if getattr(node, "name", None) == name), None)

"""The first docstring line of a function or class, read from its source, so that listing things imports none of them."""

import ast
import inspect
from functools import cache
from importlib import import_module
from importlib.util import find_spec


def first_docstring_line(module: str, name: str) -> str:
    """Return the first line of the docstring of `module.name`; empty where there is none.

    The module is not run, only the packages that hold it are imported. A module without source is imported.

    Raises:
        ImportError: there is no such module.
    """
    tree = _parsed(module)
    nodes = [] if tree is None else [node for node in tree.body if getattr(node, "name", None) == name]
    found = nodes[-1] if nodes else None
    if isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        text = ast.get_docstring(found)
    else:
        text = inspect.getdoc(getattr(import_module(module), name))
    return (text or "").partition("\n")[0]


@cache
def _parsed(module: str) -> ast.Module | None:
    """Parse the source of a module; None where it has none.

    Raises:
        ImportError: there is no such module.
    """
    spec = find_spec(module)
    if spec is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    source = getattr(spec.loader, "get_source", lambda _: None)(module)
    return None if source is None else ast.parse(source)

"""Claims about documentation: what is public is documented."""

import importlib
import inspect
import pkgutil
from typing import Any

import pytest

import coreselect

MODULES = [
    m.name
    for m in pkgutil.walk_packages(coreselect.__path__, "coreselect.")
    if not m.name.rpartition(".")[2].startswith("__")
]


def public(module: Any) -> list[tuple[str, Any]]:
    """Functions and classes that a module defines without an underscore, and the classes' own public methods."""
    found = []
    for name, thing in vars(module).items():
        if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(thing) or inspect.isclass(thing):
            found.append((name, thing))
    return found


@pytest.mark.parametrize("name", ["coreselect", *MODULES])
def test_every_module_function_and_class_says_what_it_is(name: str) -> None:
    """Modules, public functions and public classes have docstrings that begin with a sentence."""
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip(), f"{name} has no docstring"
    for what, thing in public(module):
        text = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
        assert (text or "").strip(), f"{name}.{what} has no docstring"
        generated = (text or "").startswith(f"{what}(") and (text or "").endswith(")")
        assert not generated, f"{name}.{what} has the docstring that dataclasses make up"


def test_public_names_document_their_methods() -> None:
    """Methods of the names at the top level have docstrings, those that only fulfil a protocol aside."""
    for name in coreselect.__all__:
        thing = getattr(coreselect, name)
        if not inspect.isclass(thing):
            continue
        for what, member in vars(thing).items():
            if inspect.isfunction(member) and not what.startswith("_") and what not in ("forward", "select"):
                assert (member.__doc__ or "").strip(), f"{name}.{what} has no docstring"

"""Claims about names that are loaded when they are used: nothing heavy is imported for them, and they are the real ones."""

import ast
import inspect
import pickle
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import pytest

import coreselect
from coreselect import Selection, Selector, certify, get_selector
from coreselect.selectors import COMBINATORS, RCS, SELECTORS, Random
from coreselect.selectors.catalogue import CATALOGUE, Entry


def loaded_after(code: str) -> list[str]:
    """Which of the heavy packages a child process has loaded after it ran this code."""
    report = "\nimport sys\nprint(*(n for n in ('torch', 'scipy', 'numpy') if n in sys.modules))"
    return subprocess.run(
        [sys.executable, "-c", code + report], capture_output=True, text=True, check=True
    ).stdout.split()


@pytest.mark.parametrize(
    "code",
    [
        "import coreselect; dir(coreselect); coreselect.__version__; coreselect.errors; coreselect.CoreselectError",
        "import coreselect.selectors; dir(coreselect.selectors)",
        "from coreselect import list_selectors; list_selectors()",
    ],
)
def test_importing_the_package_loads_nothing_heavy(code: str) -> None:
    """Names are loaded when they are used; what needs no torch loads none."""
    assert loaded_after(code) == []


def test_the_package_shows_its_names_and_its_version() -> None:
    """`dir` lists every public name although none is loaded, and the version is that of the installed distribution."""
    assert {*coreselect.__all__, "__version__"} <= set(dir(coreselect))
    assert {"RCS", "SELECTORS", "get_selector"} <= set(dir(import_module("coreselect.selectors")))
    assert coreselect.__version__ == version("coreselect")


def test_a_star_import_gives_every_public_name() -> None:
    """`from coreselect import *`, and the same of the selectors."""
    for package in ("coreselect", "coreselect.selectors"):
        names: dict[str, Any] = {}
        exec(f"from {package} import *", names)
        assert set(import_module(package).__all__) <= set(names)


def test_modules_are_attributes_of_the_package_and_certify_is_the_function() -> None:
    """`coreselect.attacks` without an import of its own; no module hides a public name; an unknown name is an error."""
    code = "import coreselect; print(coreselect.attacks.PGD, coreselect.selectors.RCS, coreselect.data.load)"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    for module in ("coreselect.certifying", "coreselect.choosing"):
        import_module(module)
    assert not any(isinstance(getattr(coreselect, name), ModuleType) for name in coreselect.__all__)
    for package in (coreselect, import_module("coreselect.selectors")):
        with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
            _ = package.nonesuch


def test_a_name_is_one_object_wherever_it_is_loaded() -> None:
    """Lazy names are the objects of their modules, so that isinstance and pickle hold; their annotations can be read."""
    assert coreselect.Task is import_module("coreselect.task.task").Task
    assert get_selector is import_module("coreselect.selectors").get_selector
    assert pickle.loads(pickle.dumps((RCS(), certify, coreselect.CoreselectError))) == (
        RCS(), certify, coreselect.CoreselectError,
    )  # fmt: skip
    assert get_type_hints(get_selector)["return"] is Selector
    assert get_type_hints(coreselect.select)["return"] is Selection


@pytest.mark.parametrize("package", ["coreselect", "coreselect.selectors"])
def test_type_checkers_see_the_names_that_are_loaded(package: str) -> None:
    """The imports under TYPE_CHECKING, which editors read, name the modules from which the names come."""
    module = import_module(package)
    tree = ast.parse(Path(inspect.getfile(module)).read_text(encoding="utf-8"))
    (branch,) = (node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    seen = {alias.name: node.module for node in branch.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(module.__all__) - set(seen) <= {"list_selectors"}
    for name, home in seen.items():
        assert getattr(module, name) is getattr(import_module(home or ""), name)


@pytest.mark.parametrize("entry", CATALOGUE, ids=[entry.name for entry in CATALOGUE])
def test_the_catalogue_is_what_the_classes_say(entry: Entry) -> None:
    """Name, needs, renewal and first docstring line of each selector, and whether it is made of others."""
    cls = SELECTORS[entry.name]
    assert (cls.__name__, cls.name, entry.load()) == (entry.cls, entry.name, cls)
    assert entry.about == (cls.__doc__ or "").strip().splitlines()[0]
    assert entry.combines == (cls in COMBINATORS)
    made = cls() if not entry.combines else cls([Random()] if entry.name == "mixture" else Random())
    assert entry.requires == tuple(sorted(made.requires))
    assert entry.renew == made.renew or entry.combines

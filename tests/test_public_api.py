"""Claims about names and parameters that others rely on (the public interface)."""

import ast
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import pytest
from torch.utils.data import Sampler

import coreselect
from coreselect import (
    Certificate,
    CoreselectError,
    CoresetSampler,
    Indexed,
    Normalized,
    Selection,
    Selector,
    Task,
    certify,
    get_selector,
    holdout,
    list_selectors,
    select,
)
from coreselect.attacks import PGD
from coreselect.errors import UnknownNameError
from coreselect.objectives import RD
from coreselect.selectors import COMBINATORS, RCS, RS2, SELECTORS, Random, Redraw
from coreselect.selectors.catalogue import CATALOGUE, Entry


def accepts(thing: Callable[..., Any], *names: str, **defaults: Any) -> None:
    """Assert that a callable has these parameters, and those defaults."""
    parameters = inspect.signature(thing).parameters
    for name in (*names, *defaults):
        assert name in parameters, f"{thing} has no parameter {name}"
    for name, value in defaults.items():
        assert parameters[name].default == value, f"{thing}: {name}={parameters[name].default!r}, not {value!r}"


def test_the_top_level_names() -> None:
    """Every name of the public list is there, and `__all__` lists exactly what the package offers."""
    for thing in (Selection, Task, Selector, Certificate, select, certify, CoresetSampler, Indexed, Normalized):
        assert thing.__name__ in coreselect.__all__
    for name in ("get_selector", "list_selectors", "holdout", "CoreselectError"):
        assert name in coreselect.__all__
    assert sorted(coreselect.__all__) == coreselect.__all__
    assert all(hasattr(coreselect, n) for n in coreselect.__all__)


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


def test_parameters() -> None:
    """Signatures have the published parameters with the published defaults."""
    accepts(holdout, "dataset", size=0.01, seed=0)
    accepts(
        Task.from_model,
        *("model", "pool", "validation"),
        loss="sat",
        attack=None,
        head=None,
        capture=None,
        call=None,
        views=None,
        unpack=None,
        batch_size=256,
        num_workers=0,
        device=None,
    )
    accepts(
        Task.from_arrays,
        features=None,
        labels=None,
        logits=None,
        gradients=None,
        groups=None,
        validation_gradient=None,
    )
    accepts(select, "task", "selector", "budget", seed=0)
    accepts(certify, "selection", "task", "method")
    accepts(
        CoresetSampler, "task", "selector", "budget", warmup=10, every=10, seed=0, shuffle=True, rank=0, world_size=1
    )
    accepts(PGD, "radius", "step", "steps", norm="linf", random_start=True)
    accepts(
        RCS,
        "objective",
        eta=0.01,
        groups="batch",
        group_size=None,
        stratify="auto",
        recraft="once",
        refresh=1,
        search="auto",
        certify="instance",
    )
    accepts(Normalized, "model", "mean", "std")


def test_published_settings() -> None:
    """RD's defaults are KL and PGD 8/255 with 3 steps of 10/765, its own name is rd; PGD's bounds are [0, 1]."""
    assert RD().attack == PGD(8 / 255, 10 / 765, 3)
    assert RD().divergence == "kl"
    assert PGD(0.1, 0.1, 1).bounds == (0, 1)
    assert RCS(objective=RD("kl", attack=PGD(8 / 255, 10 / 765, 3))) == RCS()


def test_records_have_their_fields() -> None:
    """Selection and Certificate have the published fields, and Selection its methods."""
    assert {f.name for f in fields(Selection)} >= {
        *("indices", "source_indices", "groups", "gains", "weights", "scores", "nested", "certificate", "provenance")
    }
    assert [f.name for f in fields(Certificate)][:5] == ["method", "value", "upper_bound", "ratio", "assumptions"]
    for method in ("save", "load", "subset"):
        assert callable(getattr(Selection, method))


def test_selectors_by_name() -> None:
    """Every built-in name makes its selector or says which argument it lacks; unknown names are refused with the known."""
    assert list_selectors()[: len(SELECTORS)] == list(SELECTORS)
    assert {"rcs", "rcs_sampled", "random", "redraw", "rs2", "per_class", "windowed", "mixture"} <= set(SELECTORS)
    assert get_selector("rcs", eta=0.5) == RCS(eta=0.5)
    assert get_selector("windowed", selector=Random(), window=5).name == "windowed"
    with pytest.raises(UnknownNameError, match="rs2"):
        get_selector("craig_by_hand")
    for name, settings in (("rcs", {"etta": 1}), ("per_class", {})):
        with pytest.raises(CoreselectError, match=name):
            get_selector(name, **settings)


def test_protocol_members() -> None:
    """A selector has name, requires, renew and select(task, budget, *, generator, round=0)."""
    for selector in (RCS(), Random(), Redraw(), RS2()):
        assert isinstance(selector, Selector)
        accepts(selector.select, "task", "budget", "generator", round=0)
        kinds = inspect.signature(selector.select).parameters
        assert kinds["generator"].kind is inspect.Parameter.KEYWORD_ONLY
    assert (Random().renew, RCS().renew, RS2().renew) == ("never", "round", "epoch")
    assert issubclass(CoresetSampler, Sampler)
    assert issubclass(CoreselectError, Exception)


@pytest.mark.parametrize(
    "settings",
    [
        {"eta": 0},
        {"eta": float("nan")},
        {"groups": "pairs"},
        {"group_size": 0},
        {"group_size": 1.5},
        {"group_size": True},
        {"refresh": 0},
        {"recraft": 0},
        {"recraft": "sometimes"},
        {"certify": "proof"},
        {"stratify": "classes"},
        {"search": "annoy"},
        {"clusters": 0},
    ],
)
def test_impossible_settings_are_refused_when_they_are_given(settings: Any) -> None:
    """RCS refuses a setting it does not know when it is made, not an hour later."""
    with pytest.raises(CoreselectError):
        RCS(**settings)

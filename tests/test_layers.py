"""Claims about who imports whom, walked in the source: arrows point down, heavy packages have one door each."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import coreselect

PACKAGE = Path(inspect.getfile(coreselect)).parent
ROOT = PACKAGE.parent
INTEGRATIONS = ROOT / "integrations" / "coreselect_integrations"

# The rooms in the order of their imports: a module may import from its own line and from the lines before it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("support", "budget"),
    ("io", "data"),
    ("types", "trouble"),
    ("protocols",),
    ("attacks", "divergences", "losses", "network", "history"),
    ("objectives",),
    ("gradients",),
    ("search",),
    ("solvers",),
    ("task",),
    ("certificates",),
    ("planning",),
    ("choosing",),
    ("selectors",),
    ("certifying", "loop"),
    ("",),  # coreselect itself: the public names
    ("report",),
    ("cli", "__main__"),
)
RANK = {name: rank for rank, line in enumerate(LAYERS) for name in line}

# The same for the adapters, which stand on the public names of the core.
ADAPTER_LAYERS: tuple[tuple[str, ...], ...] = (
    ("lookup", "own_code"),
    ("networks", "training"),
    ("evaluation", "systems"),
    ("finetuning", "pretraining"),
    ("comparison",),
    ("racing",),
    ("frameworks",),
    ("cli",),
)
ADAPTER_RANK = {name: rank for rank, line in enumerate(ADAPTER_LAYERS) for name in line}


def modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """Dotted names and files of a package."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


CORE = list(modules(PACKAGE))
NAMES = {name for name, _ in CORE}


def imports(path: Path, *, everywhere: bool = True) -> Iterator[str]:
    """Absolute names that a file imports at run time.

    Imports for type checkers alone are left out, except in an `__init__.py`: there they name what the package loads lazily.
    """
    lazily = path.name == "__init__.py"

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            inner = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not everywhere
            if (lazily or not for_types) and not inner:
                yield child
                yield from walk(child)

    for node in walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively: write the whole name"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in NAMES else node.module or ""


def layer(module: str) -> str:
    """`coreselect.search.exact` → `search`, `coreselect` → ``."""
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize(("module", "path"), CORE, ids=[n for n, _ in CORE])
def test_arrows_point_down(module: str, path: Path) -> None:
    """Every import of the core goes to a line of the same height or below, in the order that the data travels."""
    own = layer(module)
    assert own in RANK, f"{module} has no place in the order: give it one in LAYERS"
    for name in imports(path):
        if name in NAMES and name != "coreselect":
            assert RANK[layer(name)] <= RANK[own], f"{module} imports {name}, which stands above it"
        elif name == "coreselect" and own != "":
            assert RANK[own] > RANK[""], f"{module} imports the package that imports it"


@pytest.mark.skipif(not INTEGRATIONS.exists(), reason="the adapters' source is not beside the core's")
def test_arrows_of_the_adapters_point_down() -> None:
    """Every import among the adapters goes to a line of the same height or below, from networks up to commands."""
    found = list(modules(INTEGRATIONS))
    names = {name for name, _ in found}
    for module, path in found:
        if module == INTEGRATIONS.name:
            continue
        own = layer(module)
        assert own in ADAPTER_RANK, f"{module} has no place in the order: give it one in ADAPTER_LAYERS"
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == INTEGRATIONS.name and any(n == name or n.startswith(f"{name}.") for n in names):
                assert len(parts) > 1, f"{module} imports the package that imports it"
                assert ADAPTER_RANK[parts[1]] <= ADAPTER_RANK[own], f"{module} imports {name}, which stands above it"


def test_families_of_selectors_do_not_need_each_other() -> None:
    """A file of one family of selectors imports from its own family and from the rooms below, not from another family."""
    for module, path in CORE:
        parts = module.split(".")
        if parts[1:2] != ["selectors"] or len(parts) < 4:
            continue
        for name in imports(path):
            other = name.split(".")
            if other[:2] == ["coreselect", "selectors"] and len(other) > 3:
                assert other[2] == parts[2], f"{module} imports {name} of another family"


def test_no_module_waits_for_itself() -> None:
    """No circle of imports, inside a line or across, counting those that run when a module is loaded."""
    edges = {m: {n for n in imports(p, everywhere=False) if n in NAMES and n != m} for m, p in CORE}

    def parents(name: str) -> set[str]:
        return {name.rpartition(".")[0]} & NAMES - {"coreselect"}

    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " → ".join([*trail[trail.index(module) :], module])
        if module in done:
            return
        for name in edges[module] - parents(module):
            visit(name, (*trail, module))
        done.add(module)

    for module in sorted(edges):
        visit(module, ())


@pytest.mark.parametrize(
    ("package", "doors"),
    [
        ("faiss", {"search/faiss.py"}),
        ("ot", {"divergences.py"}),
        ("matplotlib", {"report/figure.py"}),
        ("datasets", {"data/hugging_face.py"}),
    ],
)
def test_heavy_packages_have_one_door(package: str, doors: set[str]) -> None:
    """Each optional package is imported in one file of the core, and there inside a function."""
    found = {
        str(path.relative_to(PACKAGE)): path
        for _, path in CORE
        if any(n.split(".")[0] == package for n in imports(path))
    }
    assert set(found) == doors
    for path in found.values():
        assert not any(n.split(".")[0] == package for n in imports(path, everywhere=False))


@pytest.mark.skipif(not INTEGRATIONS.exists(), reason="the adapters' source is not beside the core's")
@pytest.mark.parametrize(
    ("package", "doors"),
    [
        ("lightning", {"lightning", "fabric"}),  # fabric: for type checkers alone
        ("accelerate", {"accelerate"}),
        ("transformers", {"transformers"}),
        ("datasets", {"datasets"}),
    ],
)
def test_frameworks_have_one_door(package: str, doors: set[str]) -> None:
    """Each framework is imported by the file that bears its name, and nobody imports that file but who asks for it."""
    found = list(modules(INTEGRATIONS))
    inside = {name.rpartition(".")[2] for name, path in found if any(n.split(".")[0] == package for n in imports(path))}
    assert inside <= doors
    assert package in inside
    askers = {name for name, path in found if f"coreselect_integrations.frameworks.{package}" in imports(path)}
    assert all(name.startswith("coreselect_integrations.frameworks.") for name in askers)


def test_the_core_needs_nothing_else() -> None:
    """At load the core imports torch, numpy, scipy, typer, rich, the standard library and itself; nothing optional."""
    import sys

    allowed = {"torch", "numpy", "scipy", "typer", "rich", "coreselect", "click"} | set(sys.stdlib_module_names)
    for module, path in CORE:
        for name in imports(path, everywhere=False):
            assert name.split(".")[0] in allowed, f"{module} imports {name} when it is loaded"


def test_nobody_imports_tests_or_benchmarks() -> None:
    """No file of either package imports from tests, benchmarks, pytest or hypothesis."""
    for folder in (PACKAGE, INTEGRATIONS):
        for module, path in modules(folder):
            roots = {n.split(".")[0] for n in imports(path)}
            assert not roots & {"tests", "benchmarks", "oracles", "cases", "contract", "pytest", "hypothesis"}, module


def test_the_core_does_not_know_its_adapters() -> None:
    """No file of the core imports coreselect_integrations by name."""
    for module, path in CORE:
        assert not any(n.split(".")[0] == "coreselect_integrations" for n in imports(path)), module


@pytest.mark.skipif(not INTEGRATIONS.exists(), reason="the adapters' source is not beside the core's")
def test_adapters_import_public_names_only() -> None:
    """Adapters import no name with an underscore and only names that their module makes public."""
    import importlib

    for module, path in modules(INTEGRATIONS):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("coreselect"):
                continue
            if (node.module or "").startswith("coreselect_integrations"):
                continue
            source = importlib.import_module(node.module or "")
            public = getattr(source, "__all__", None)
            for alias in node.names:
                assert not alias.name.startswith("_"), f"{module} imports {node.module}.{alias.name}"
                if not hasattr(source, alias.name):  # a module that nothing has loaded yet
                    importlib.import_module(f"{node.module}.{alias.name}")
                if public is not None:
                    assert alias.name in public, f"{module} imports {node.module}.{alias.name}, which is not public"

"""Try the lowest and the highest supported versions: `python tests/versions.py [ROW …]`, or `make versions`.

A row is a set of versions. Each gets an environment of its own, with this checkout, and runs a small part of the tests that touches
what the row is about. A row whose versions cannot be had here (no such wheel for this Python, no network) is reported as such, and
is no failure. Exit code 1: the tests of a row failed.

    python tests/versions.py --list             the rows
    python tests/versions.py numpy scipy        two of them
    python tests/versions.py --python python3.12 torch

The rows come from `pyproject.toml`: for each requirement the lowest version that it admits; "highest" is what an index gives today.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = ("pytest>=8", "hypothesis>=6.100")
CORE = (  # a part of the tests that needs nothing optional: files, search, greedy, one selection by the command line
    "tests/io/test_index_file.py", "tests/test_attacks.py", "tests/test_divergences.py", "tests/cli/test_option_records.py",
    "tests/cli/test_config.py", "tests/cli/test_app.py", "tests/cli/test_select_command.py",
)  # fmt: skip
PARTS = {  # what the tests of a requirement are, beside those of the core
    "faiss-cpu": ("tests/search",),
    "lightning": ("tests/integrations/frameworks/test_lightning.py",),
    "accelerate": ("tests/integrations/frameworks/test_accelerate.py",),
    "transformers": ("tests/integrations/frameworks/test_transformers.py",),
    "datasets": ("tests/integrations/frameworks/test_datasets.py",),
    "scikit-learn": ("tests/integrations/frameworks/test_sklearn.py",),
    "matplotlib": ("tests/report",),
}


@dataclass(frozen=True)
class Row:
    """Requirements that are installed together, and the tests that are run with them."""

    name: str
    pins: tuple[str, ...]
    tests: tuple[str, ...]


def rows() -> list[Row]:
    """The rows of this project: each lowest version alone, all lowest of the core together, and the highest of all."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    core = [lowest(text) for text in project["dependencies"]]
    extras = [lowest(text) for name in ("cpu", "plot", "lightning", "accelerate", "transformers", "datasets", "sklearn")
              for text in project["optional-dependencies"][name]]  # fmt: skip
    single = dict.fromkeys((*core, *extras))
    found = [Row(name_of(pin), (pin,), (*CORE, *PARTS.get(name_of(pin), ()))) for pin in single]
    merged = {row.name: row for row in reversed(found)}  # of two requirements of one package, the core's
    everything = tuple(dict.fromkeys((*CORE, *(test for tests in PARTS.values() for test in tests))))
    names = [name_of(pin) for pin in single]
    return [
        *reversed(merged.values()),
        Row("typer-0.26.0", ("typer==0.26.0",), CORE),  # it reports missing arguments in a way of its own
        Row("core", tuple(core), CORE),
        Row("highest", tuple(dict.fromkeys(names)), everything),
    ]


def lowest(requirement: str) -> str:
    """`numpy>=1.26` → `numpy==1.26.*`, the first series that is supported."""
    name, version = re.match(r"([\w.-]+)(?:\[.*\])?>=([\d.]+)", requirement).groups()  # type: ignore[union-attr]  # ours have one
    return f"{name}=={version}.*" if version.count(".") < 2 else f"{name}=={version}"


def name_of(pin: str) -> str:
    """`numpy==1.26.*` → `numpy`."""
    return pin.partition("==")[0]


def tried(row: Row, python: str, folder: Path) -> str:
    """Make the environment of a row and run its tests; return "passed", "failed" or why the versions cannot be had."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    own = str(folder / "bin" / "python")
    needed = [*row.pins, *TOOLS]
    got = subprocess.run(
        [own, "-m", "pip", "install", "--quiet", *needed, "-e", str(ROOT)], capture_output=True, text=True
    )
    if got.returncode:
        last = [line for line in got.stderr.splitlines() if line.startswith("ERROR")]
        return f"not to be had here: {(last or ['pip failed'])[-1].removeprefix('ERROR: ')[:120]}"
    done = subprocess.run([own, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *row.tests], cwd=ROOT)
    return "passed" if done.returncode == 0 else "failed"


def main(words: list[str]) -> int:
    """Try the rows that are named, or all; print a line for each; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("row", nargs="*")
    parser.add_argument("--list", action="store_true", help="print the rows")
    parser.add_argument("--python", default=sys.executable, help="the Python of the environments")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "versions", help="where environments are made")
    given = parser.parse_args(words)
    known = {row.name: row for row in rows()}
    unknown = [name for name in given.row if name not in known]
    if unknown:
        parser.error(f"no row is called {unknown[0]}; there are {', '.join(known)}")
    if given.list:
        print(*(f"{row.name}: {' '.join(row.pins)}" for row in known.values()), sep="\n")
        return 0
    found = {}
    for name in given.row or known:
        found[name] = tried(known[name], given.python, given.folder / name)
        print(f"{name}: {found[name]}", flush=True)
    print(
        "\n".join(["", *(f"{name:14} {' '.join(known[name].pins)[:60]:60} {words}" for name, words in found.items())])
    )
    return 1 if "failed" in found.values() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Claims about the listing: a reader of `git ls-files` learns what the program is made of."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("coreselect", "integrations/coreselect_integrations")
LONGEST = 260
pytestmark = pytest.mark.skipif(
    not (ROOT / PACKAGES[1]).is_dir(), reason="the tests run apart from the checkout, so there is no listing to read"
)


TOP = {
    ".ci", ".github", ".gitignore", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md",
    "benchmarks", "constraints.txt", "coreselect", "docs", "examples", "integrations", "mkdocs.yml", "pyproject.toml", "tests",
}  # fmt: skip


def listing(*patterns: str, committed: bool = False) -> list[str]:
    """The files of the repository with such names, as git lists them; Python files if none are given."""
    others = () if committed else ("--others", "--exclude-standard")
    done = subprocess.run(
        ["git", "ls-files", "--cached", *others, *(patterns or ("*.py",))],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip("this is no git checkout, so there is no listing to read")
    return [name for name in done.stdout.splitlines() if (ROOT / name).exists()]


def loose(folder: str) -> list[str]:
    """The Python files directly in a folder."""
    return [name for name in listing() if str(Path(name).parent) == folder]


@pytest.mark.parametrize(("folder", "most"), [(PACKAGES[0], 12), (PACKAGES[1], 3)])
def test_few_files_lie_beside_the_rooms(folder: str, most: int) -> None:
    """At most 12 Python files lie directly in the core package and at most 3 in the integrations package."""
    found = loose(folder)
    assert found
    assert len(found) <= most, found


def test_nothing_else_lies_at_the_top() -> None:
    """A trial run in the checkout leaves files there, and a commit takes them in: what belongs at the top is named here."""
    assert {name.split("/")[0] for name in listing("*", committed=True)} <= TOP


def test_no_merge_was_left_half_done() -> None:
    """No file holds the marks between the two texts of a merge."""
    marks = ("<" * 7 + " ", ">" * 7 + " ")
    found = [
        name
        for name in listing("*.py", "*.md", "*.toml", "*.yml", "Makefile")
        if any(line.startswith(marks) for line in (ROOT / name).read_text(encoding="utf-8").splitlines())
    ]
    assert not found


def test_every_folder_says_in_one_sentence_what_is_inside() -> None:
    """Every package folder has an `__init__.py` whose docstring is one sentence on one line."""
    inside = [name for name in listing() if name.startswith(tuple(f"{p}/" for p in PACKAGES))]
    folders = {str(Path(name).parent) for name in inside}
    assert len(folders) > 20
    for folder in sorted(folders):
        text = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8"))) or ""
        first = text.split("\n\n")[0]
        assert first.endswith("."), f"{folder} does not say what is inside"
        assert "\n" not in first, f"{folder}: the docstring of a folder is one line, got {first!r}"
        assert ". " not in first.rstrip("."), f"{folder}: one sentence is enough, got {first!r}"


def test_no_file_is_long() -> None:
    """No file of the two packages or of the benchmarks is over 260 lines: one file holds one idea."""
    long = {
        name: count
        for name in listing()
        if name.startswith((*(f"{p}/" for p in PACKAGES), "benchmarks/"))
        and (count := len((ROOT / name).read_text(encoding="utf-8").splitlines())) > LONGEST
    }
    assert not long, f"{long}: split what has more than one idea"

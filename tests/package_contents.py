"""Check what the wheel and the source archive hold: `python tests/package_contents.py FOLDER` prints what is wrong.

The wheel holds the two packages and nothing else, each with its mark of types; the archive also what tests and documents need.
"""

import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "coreselect": ROOT / "coreselect",
    "coreselect_integrations": ROOT / "integrations" / "coreselect_integrations",
}
IN_ARCHIVE = (
    "coreselect", "integrations", "tests", "benchmarks", "docs", "examples", "mkdocs.yml", "README.md", "CHANGELOG.md",
    "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "Makefile", "constraints.txt", "pyproject.toml", "PKG-INFO", ".gitignore",
)  # fmt: skip


def sources() -> set[str]:
    """The files of the two packages, as a wheel names them."""
    return {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def wheel_problems(names: Sequence[str]) -> list[str]:
    """What is wrong with a wheel of these files."""
    about = {name.partition("/")[2] for name in names if name.partition("/")[0].endswith(".dist-info")}
    code = {name for name in names if not name.partition("/")[0].endswith(".dist-info")}
    found = [f"{name} is missing" for name in sorted(sources() - code)]
    found += [f"{name} does not belong there" for name in sorted(code - sources())]
    needed = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    return found + [f"{name} is missing beside the packages" for name in needed if name not in about]


def archive_problems(names: Sequence[str]) -> list[str]:
    """What is wrong with a source archive of these files; each name begins with the folder of the version."""
    inside = [name.partition("/")[2] for name in names]
    tops = {name.partition("/")[0] for name in inside}
    found = [f"{name} is missing" for name in sorted({*IN_ARCHIVE} - tops - {".gitignore"})]
    found += [f"{name} does not belong there" for name in sorted(tops - {*IN_ARCHIVE})]
    return found + [f"{name} is made, not written" for name in inside if "__pycache__" in name or name.endswith(".pyc")]


def main(folder: Path) -> int:
    """Check the wheel and the archive of a folder; return the exit code."""
    (wheel,), (archive,) = list(folder.glob("*.whl")), list(folder.glob("*.tar.gz"))
    with zipfile.ZipFile(wheel) as file:
        in_wheel = file.namelist()
    with tarfile.open(archive) as file:
        in_archive = [member.name for member in file.getmembers() if member.isfile()]
    problems = [f"{wheel.name}: {words}" for words in wheel_problems(in_wheel)]
    problems += [f"{archive.name}: {words}" for words in archive_problems(in_archive)]
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{wheel.name}: {len(in_wheel)} files, {archive.name}: {len(in_archive)} files")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

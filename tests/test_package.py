"""The check of the wheel and the source archive finds what is missing and what does not belong there."""

import package_contents
import pytest

pytestmark = pytest.mark.skipif(
    not all(folder.is_dir() for folder in package_contents.PACKAGES.values()),
    reason="the tests run apart from the checkout, so there is nothing to pack",
)
ABOUT = [f"coreselect-1.dist-info/{n}" for n in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")]


def test_a_wheel_of_the_sources_is_right() -> None:
    """The two packages with their marks of types, the licence and the commands, and nothing else."""
    whole = [*package_contents.sources(), *ABOUT]
    assert {"coreselect/py.typed", "coreselect_integrations/py.typed"} <= set(whole)
    assert package_contents.wheel_problems(whole) == []


@pytest.mark.parametrize("name", ["coreselect/py.typed", "coreselect/io/columns.py", ABOUT[-1]])
def test_a_missing_file_is_found(name: str) -> None:
    """The mark of types, a module, the licence."""
    rest = [n for n in [*package_contents.sources(), *ABOUT] if n != name]
    (problem,) = package_contents.wheel_problems(rest)
    assert name.removeprefix("coreselect-1.dist-info/") in problem


@pytest.mark.parametrize("name", ["tests/conftest.py", "benchmarks/run.py", "coreselect/secret.txt"])
def test_what_does_not_belong_in_a_wheel_is_found(name: str) -> None:
    """Tests, benchmarks, files of nobody."""
    whole = [*package_contents.sources(), *ABOUT, name]
    assert package_contents.wheel_problems(whole) == [f"{name} does not belong there"]


def test_a_source_archive_holds_what_its_tests_need() -> None:
    """Every part of the list, and no environment, results of builds or compiled files."""
    whole = [f"coreselect-1/{name}" for name in package_contents.IN_ARCHIVE]
    assert package_contents.archive_problems(whole) == []
    assert package_contents.archive_problems(whole[1:]) == ["coreselect is missing"]
    assert package_contents.archive_problems([*whole, "coreselect-1/.venv/x"]) == [".venv does not belong there"]
    made = "coreselect-1/tests/__pycache__/a.pyc"
    assert len(package_contents.archive_problems([*whole, made])) == 1

"""The first docstring line comes from the source, and the module is not run for it."""

from pathlib import Path

import pytest

from coreselect.support.source import first_docstring_line

SOURCE = '''
raise RuntimeError("this module was run")

def plain():
    """Do one thing.

    More about it.
    """

def bare():
    pass

@property
class Decorated:
    """Hold
    several things."""

def twice():
    """First."""

def twice():
    """Second."""

def joined():
    """One """ "line."

def called():
    """No docstring.""".strip()

def raw():
    r"""A \\ in it."""  # said

def commented():  # not """this"""
    """The one."""

def single():
    'In single quotes.'

def empty():
    x = """
text"""
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that fails when it is imported."""
    name = f"source_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    return name


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("plain", "Do one thing."),
        ("bare", ""),
        ("Decorated", "Hold"),
        ("twice", "Second."),
        ("joined", "One line."),
        ("called", ""),
        ("raw", "A \\ in it."),
        ("commented", "The one."),
        ("single", "In single quotes."),
        ("empty", ""),
    ],
)
def test_the_line_is_read_and_nothing_is_run(module: str, name: str, line: str) -> None:
    """Of functions and classes, with a decorator or without; the last definition of a name counts."""
    assert first_docstring_line(module, name) == line


def test_only_the_start_of_a_definition_is_parsed(module: str, tmp_path: Path) -> None:
    """Which is most of the time that a list of commands takes: an error further down is not seen."""
    (tmp_path / f"{module}.py").write_text(SOURCE + "\ndef broken(:\n")
    assert first_docstring_line(module, "plain") == "Do one thing."
    with pytest.raises(SyntaxError):
        first_docstring_line(module, "twice")


def test_what_is_not_defined_in_the_source_is_imported() -> None:
    """A name that a module only imports, and a module without source."""
    assert first_docstring_line("coreselect.io", "convert").startswith("Write")
    assert first_docstring_line("math", "sqrt") == "Return the square root of x."


def test_a_module_that_is_not_there_is_an_error() -> None:
    """As if it were imported."""
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        first_docstring_line("no_such_module", "go")

"""Claims about naming an object on the command line."""

import dataclasses
import os
import sys
from pathlib import Path

import pytest

from coreselect.data import load
from coreselect.errors import DataError, UnknownNameError
from coreselect.support.factories import called_with, is_spec, resolve

CODE = """
from dataclasses import dataclass
import beside_factories_test

@dataclass
class Box:
    value: int = beside_factories_test.VALUE

    @classmethod
    def big(cls):
        return cls(1000)

def make_model(width=3):
    return Box(width)

number = 7
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "beside_factories_test.py").write_text("VALUE = 5")
    (tmp_path / "my code.py").write_text(CODE)
    monkeypatch.delitem(sys.modules, "beside_factories_test", raising=False)
    return tmp_path / "my code.py"


def test_a_file_need_not_be_importable(file: Path) -> None:
    """A file outside `sys.path`, a space in its name, a module beside it, gives its factory; the path is as before."""
    before = list(sys.path)
    assert resolve(f"{file}:make_model", "model")(width=4).value == 4
    assert resolve(f"{file}:Box.big", "model")().value == 1000
    assert sys.path == before


def test_a_file_is_loaded_once_for_each_content(file: Path) -> None:
    """Model and dataset from one file share its module; a changed file is loaded anew."""
    first = resolve(f"{file}:Box", "model")
    assert resolve(f"{file}:Box", "dataset") is first
    assert dataclasses.fields(first)[0].name == "value"  # type: ignore[arg-type]  # a dataclass, by the text above
    file.write_text(CODE + "\n# changed\n")
    assert resolve(f"{file}:Box", "model") is not first


def test_a_module_is_found_by_name_and_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`package.module:factory` means an installed module, or one in the current folder, as with `python -m`."""
    assert resolve("collections:OrderedDict.fromkeys", "model")("ab") == {"a": None, "b": None}
    (tmp_path / "in_the_current_folder_test.py").write_text("def make(): return 3")
    monkeypatch.chdir(tmp_path)
    assert resolve("in_the_current_folder_test:make", "model")() == 3


@pytest.mark.parametrize(
    "spec", ["", "module", "module:", ":name", "a-b:c", "module:1", "file-1.txt:name", "a..b:c", "m:a b"]
)
def test_another_form_is_refused(spec: str) -> None:
    """What is not `module:name` or `file.py:name` is refused, and the two forms are named."""
    assert not is_spec(spec)
    with pytest.raises(DataError, match=r"package\.module:factory or path/to/file\.py:factory"):
        resolve(spec, "model")


def test_unknown_names_are_refused_with_the_nearest(file: Path) -> None:
    """A misspelt name is answered with the nearest there is; what cannot be called is no factory."""
    with pytest.raises(UnknownNameError, match="no 'make_modle'; did you mean 'make_model'"):
        resolve(f"{file}:make_modle", "model")
    with pytest.raises(UnknownNameError, match="no 'xyz'"):
        resolve(f"{file}:xyz", "model")
    with pytest.raises(UnknownNameError, match="number is a int"):
        resolve(f"{file}:number", "model")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
        ("def (", "SyntaxError"),
        ("import a_module_nobody_has", "ModuleNotFoundError"),
    ],
)
def test_a_file_that_fails_is_one_sentence_and_leaves_nothing(tmp_path: Path, code: str, said: str) -> None:
    """Whatever a user's file raises comes back as one line with its cause attached, and no half-loaded module stays."""
    (tmp_path / "broken.py").write_text(code)
    before = set(sys.modules)
    with pytest.raises(DataError, match=said) as refusal:
        resolve(f"{tmp_path / 'broken.py'}:make", "model")
    assert refusal.value.__cause__ is not None
    assert "\n" not in str(refusal.value)
    assert set(sys.modules) == before


def test_missing_modules_and_files_are_refused(tmp_path: Path) -> None:
    """A module or file that is not there is a DataError that names it."""
    with pytest.raises(DataError, match="a_module_nobody_has"):
        resolve("a_module_nobody_has.inner:make", "model")
    with pytest.raises(DataError, match=r"none\.py cannot be read"):
        resolve(f"{tmp_path / 'none.py'}:make", "model")


@pytest.mark.parametrize("stop", ["import sys; sys.exit(0)", "raise SystemExit", "quit()"])
def test_code_that_ends_the_program_is_refused(tmp_path: Path, stop: str) -> None:
    """Neither importing a file nor calling its function ends a command as if its work were done."""
    (tmp_path / "ends.py").write_text(stop)
    with pytest.raises(DataError, match=r"ends the program when it is imported: put that under if __name__"):
        resolve(f"{tmp_path / 'ends.py'}:make", "model")
    (tmp_path / "later.py").write_text(f"def make(split='train'):\n    {stop}\n")
    with pytest.raises(DataError, match="the function make ends the program"):
        called_with(resolve(f"{tmp_path / 'later.py'}:make", "model"), {})
    with pytest.raises(DataError, match="ends the program, and is to return a dataset"):
        load(f"{tmp_path / 'later.py'}:make")


@pytest.mark.parametrize("what", ["pipe", "folder"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, what: str) -> None:
    """A pipe that nobody writes to, and a folder, are refused by name."""
    path = tmp_path / "code.py"
    os.mkfifo(path) if what == "pipe" else path.mkdir()
    with pytest.raises(DataError, match=r"code\.py is no ordinary file"):
        resolve(f"{path}:make", "model")


def test_a_file_may_have_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    """Paths are bytes on most systems; such a file is loaded as any other."""
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xfe.py")
    try:
        Path(path).write_text("def make(): return 3")
    except OSError:
        pytest.skip("the file system has no such names")
    assert resolve(f"{path}:make", "model")() == 3

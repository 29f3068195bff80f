"""No traceback reaches a user: whatever a command raises is one line with exit code 1; `--debug` shows all."""

import errno
import io
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from coreselect.cli import command_group
from coreselect.cli.app import main
from coreselect.cli.plain_output import PLAIN, plain_streams
from coreselect.io.atomic import atomic_file

FAULTS = {
    "OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'out/model.pt')": "out/model.pt cannot be read or written (No space left",
    "OSError(errno.EROFS, os.strerror(errno.EROFS), 'a[red].npz')": "a[red].npz cannot be read or written (Read-only",
    "PermissionError(errno.EACCES, os.strerror(errno.EACCES), 'x')": "x cannot be read or written (Permission denied)",
    "IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), 'd')": "d cannot be read or written (Is a directory)",
    "OSError('no number')": "OSError: no number (",
    "MemoryError()": "the memory is not enough: give a smaller --batch-size",
    "RuntimeError('[enforce fail] DefaultCPUAllocator: can\\'t allocate memory: you tried')": "the memory is not enough (",
    "RuntimeError('PytorchStreamWriter failed writing file data/3')": "a file of weights could not be written whole",
    "ValueError('two\\nlines \\x1b[31m and a [bracket]')": "ValueError: two lines \\u001b[31m and a [bracket] (",
    "AssertionError()": "AssertionError (",
    "CoreselectError('as it is meant.')": "refused: as it is meant.",
}


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run `coreselect … ours` with a command that evaluates an expression, and return the exit code."""

    def run(body: str, *words: str) -> Any:
        (tmp_path / "faulty_command.py").write_text(
            "import errno, os\nfrom coreselect.errors import CoreselectError\n\n\ndef go() -> None:\n"
            f'    """Do it."""\n    {body}\n'
        )
        sys.modules.pop("faulty_command", None)
        monkeypatch.syspath_prepend(tmp_path)
        entry = EntryPoint("ours", "faulty_command:go", "coreselect.commands")
        monkeypatch.setattr(command_group, "entry_points", lambda group: [entry])
        monkeypatch.setattr(sys, "argv", ["coreselect", *words, "ours"])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code

    return run


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failure_is_one_line(fault: str, ours: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """It says what failed; nothing goes to stdout; control characters of a message are shown as codes."""
    assert ours(f"raise {fault}") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert FAULTS[fault] in err
    assert "\x1b" not in err


def test_the_line_that_failed_is_named(ours: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """It is the last line of code that is neither a library nor ours."""
    assert ours("int('no number')") == 1
    assert "faulty_command.py, line 7)" in capsys.readouterr().err


def test_debug_shows_the_traceback_and_its_cause(ours: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Also that of a refusal."""
    assert ours("raise CoreselectError('refused here.') from ValueError('the cause')", "--debug") == 1
    err = capsys.readouterr().err
    assert "ValueError: the cause" in err
    assert "Traceback" in err
    assert err.rstrip().endswith("refused: refused here.")


def test_a_failed_write_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    """Not the temporary file, and not nothing."""
    with pytest.raises(OSError) as caught, atomic_file(tmp_path / "coreset.npz"):  # noqa: PT011
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(tmp_path / "coreset.npz")
    assert list(tmp_path.iterdir()) == []


NO_SPACE = """
import resource, sys
import numpy as np, torch
from coreselect.cli.last_resort import explained
from coreselect.io.atomic import atomic_file
writers = {
    "torch": lambda file: torch.save({"weights": torch.zeros(300_000)}, file),
    "numpy": lambda file: np.savez(file, rows=np.zeros(300_000)),
    "own": lambda file: file.write(b"0" * 10**6),
}
resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
try:
    with atomic_file(sys.argv[1]) as file:
        writers[sys.argv[2]](file)
except OSError as why:
    print(explained(why))
"""


@pytest.mark.parametrize("writer", ["torch", "numpy", "own"])
def test_a_full_disk_is_told_by_its_own_name_whoever_writes(writer: str, tmp_path: Path) -> None:
    """Libraries raise other errors when a write fails; a user reads which file, and why, and finds nothing left of it."""
    path = tmp_path / "last.pt"
    got = subprocess.run([sys.executable, "-c", NO_SPACE, path, writer], capture_output=True, text=True, check=True)
    assert got.stdout.startswith(f"{path} cannot be read or written (File too large): raise the limit on file sizes")
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_no_write_caused_stays_what_it_is(tmp_path: Path) -> None:
    """A block that fails for its own reasons raises these, also with an error of another file behind them."""

    def fails() -> None:
        try:
            (tmp_path / "missing").read_bytes()
        except OSError as why:
            raise RuntimeError("own") from why

    with pytest.raises(RuntimeError, match="own"), atomic_file(tmp_path / "a"):
        fails()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437"])
def test_output_in_old_encodings_is_plain(encoding: str, ours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table and every character that we print are written, and the command succeeds."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    text = "".join(PLAIN) + "é漢"
    body = (
        f"print({text!r}); from rich.table import Table; from rich.console import Console; t = Table(title='η ≤ 1'); "
        "t.add_column('±'); t.add_row('3 · 10⁻⁶'); Console().print(t)"
    )
    assert not ours(body)
    streams[0].flush()
    written = streams[0].buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    if encoding == "ascii":
        assert "eta <= 1" in written
        assert "3 * 10" in written
    assert "?" in written  # the Chinese character alone


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_path_that_is_no_utf8_can_be_printed(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes are written as codes, on every stream, and what the encoding has is written as it is."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    plain_streams()
    print(f"wrote η {os.fsdecode(bytes([0xFE]))}.npz")
    stream.flush()
    written = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert written.rstrip() == f"wrote {'η' if encoding == 'utf-8' else 'eta'} \\xfe.npz"


def test_code_of_the_users_cannot_end_a_command_as_done(ours: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever it calls sys.exit, the exit code is 1, and one line says so; another exit code stays."""
    assert ours("raise SystemExit(0)") == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "ended the program before the work was done" in err
    assert ours("raise SystemExit(3)") == 3

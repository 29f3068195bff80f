"""The application has every registered command, imports one when it is called, and keeps working when one is broken."""

import subprocess
import sys
import warnings
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from coreselect.cli import command_group
from coreselect.cli.app import build, main
from coreselect.errors import CoreselectError


def registered(monkeypatch: pytest.MonkeyPatch, **commands: str) -> None:
    """Let these be the entry points of `coreselect.commands`."""
    found = [EntryPoint(name, where, "coreselect.commands") for name, where in commands.items()]

    def entry_points(group: str) -> Any:
        return [e for e in found if e.group == group]

    monkeypatch.setattr(command_group, "entry_points", entry_points)


def loaded(*words: str) -> set[str]:
    """Which of the heavy packages a child process has imported after `coreselect` ran with these words."""
    heavy = ("torch", "scipy", "numpy", "matplotlib", "sklearn", "kornia")
    code = (
        "import sys\nfrom coreselect.cli.app import main\n"
        f"sys.argv = ['coreselect', *{list(words)!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"print('loaded', *(name for name in {heavy!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_a_command_that_cannot_be_loaded_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`methods` works; the broken one refuses in a sentence that says why, and is in the help."""
    registered(monkeypatch, methods="coreselect.cli.methods:methods", ours="no.such.module:command")
    runner = CliRunner()
    assert runner.invoke(build(), ["methods"]).exit_code == 0
    assert "Cannot be loaded" in runner.invoke(build(), ["--help"]).stdout.split("ours")[1]
    broken = runner.invoke(build(), ["ours"])
    assert isinstance(broken.exception, CoreselectError)
    assert "No module named 'no'" in str(broken.exception)


def test_warnings_are_notes_of_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A warning of coreselect becomes `note: …` on stderr, without a place in the source; others stay as they are."""
    (tmp_path / "warns_twice.py").write_text(
        "import warnings\nfrom coreselect.errors import CoreselectWarning\n\ndef go():\n"
        '    warnings.warn("labels [0]\\ndiffer.", CoreselectWarning)\n    warnings.warn("old", FutureWarning)\n    print("done")\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    registered(monkeypatch, ours="warns_twice:go")
    monkeypatch.setattr(sys, "argv", ["coreselect", "ours"])
    shown: list[str] = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *rest: shown.append(str(message)))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(SystemExit) as end:
            main()
    assert not end.value.code
    out = capsys.readouterr()
    assert (out.out, out.err, shown) == ("done\n", "note: labels [0] differ.\n", ["old"])


def test_known_commands_come_in_the_order_of_their_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """demo first, compare last, others after them by name."""
    where = "coreselect.cli.methods:methods"
    registered(monkeypatch, zebra=where, compare=where, select=where, demo=where, ant=where)
    group: Any = get_command(build())
    assert group.list_commands(None) == ["demo", "select", "compare", "ant", "zebra"]


@pytest.fixture(autouse=True)
def _any_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Typer looks for the shell that runs the tests, and knows no script for `sh`, which make uses: name the shell instead."""
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")


@pytest.mark.parametrize(
    "words",
    [
        ("--help",), ("--version",), ("methods",), ("methods", "--json"), ("select", "--help"), ("train", "--help"),
        ("compare", "--help"), ("fidelity", "--help"), ("evaluate", "--help"), ("finetune", "--help"), ("demo", "--help"),
        ("inspect", "--help"), ("convert", "--help"), ("--show-completion", "bash"),
    ],
)  # fmt: skip
def test_help_and_lists_load_nothing_heavy(words: tuple[str, ...]) -> None:
    """No torch, no scipy and not even numpy, for help, the version, the list of methods and completion."""
    assert loaded(*words) == set()


def test_the_help_shows_the_first_docstring_line_of_every_command() -> None:
    """What is read from the source is what the loaded function says."""
    shown = " ".join(CliRunner().invoke(build(), ["--help"], env={"COLUMNS": "200"}).stdout.split())
    for entry in command_group.entry_points(group="coreselect.commands"):
        assert entry.load().__doc__.splitlines()[0] in shown, entry.name


def test_another_packages_command_is_not_imported_for_the_help(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A module that fails when it is imported is listed with its docstring, and refuses when it is called."""
    (tmp_path / "plugin_of_ours.py").write_text('def go():\n    """Do it."""\n\nraise RuntimeError("no [luck]")\n')
    monkeypatch.syspath_prepend(tmp_path)
    registered(monkeypatch, ours="plugin_of_ours:go")
    assert "Do it." in CliRunner().invoke(build(), ["--help"]).stdout
    with pytest.raises(CoreselectError, match="RuntimeError: no"):
        CliRunner().invoke(build(), ["ours"], catch_exceptions=False)


@pytest.mark.parametrize("module", ["coreselect", "coreselect.cli"])
def test_the_package_runs_as_a_module(module: str) -> None:
    """`python -m coreselect --version` prints the version alone."""
    import coreselect

    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"{coreselect.__version__}\n"


@pytest.mark.parametrize(
    ("words", "offered"),
    [("coreselect meth", {"methods"}), ("coreselect select --gro", {"--group-size", "--groups"})],
)
def test_the_shell_completes_commands_and_options(words: str, offered: set[str]) -> None:
    """As the script that --install-completion installs asks for it, and without torch."""
    code = (
        "import sys\nsys.argv = ['coreselect']\nfrom coreselect.cli.app import main\n"
        "try:\n    main()\nfinally:\n    assert 'torch' not in sys.modules"
    )
    asked = {"_CORESELECT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    import os

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked})
    assert set(done.stdout.split()) == offered, done.stderr


def test_a_completion_script_can_be_shown() -> None:
    """`--show-completion bash` prints the script that `--install-completion` installs."""
    shown = CliRunner().invoke(build(), ["--show-completion", "bash"], prog_name="coreselect").stdout
    assert "complete -o default -F" in shown
    assert "_CORESELECT_COMPLETE" in shown

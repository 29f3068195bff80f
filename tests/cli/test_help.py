"""The help of the commands: shared options read the same everywhere, and nothing is clipped at 80 columns."""

import inspect
from importlib.metadata import entry_points
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from coreselect.cli.app import build

SPELLED = {"conditions": "pool"}  # parameters whose option has another name
ARGUMENTS = {"system", "mode", "source", "target", "files", "file"}
COMMANDS = {entry.name: entry for entry in entry_points(group="coreselect.commands")}
OF_ONE_COMMAND = {
    "out",
    "step",
    "seeds",
    "warmup_epochs",
    "every",
    "epochs",
    "rows",
    "size",
    "data",
    "features",
    "loss",
}


def help_texts(command: Any) -> dict[str, str]:
    """The help text of every option of a command."""
    parameters = inspect.signature(command).parameters.values()
    return {p.name: next((mark.help or "" for mark in get_args(p.annotation)[1:]), "") for p in parameters}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_fits_80_columns_and_a_file(name: str) -> None:
    """No line is longer, no word is cut off, and every option has a sentence."""
    shown = CliRunner().invoke(build(), [name, "--help"], env={"COLUMNS": "80"}).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert "…" not in shown
    texts = help_texts(COMMANDS[name].load())
    assert all(text.endswith(".") for text in texts.values()), texts
    options = [SPELLED.get(option, option) for option in texts if option not in ARGUMENTS]
    assert all(f"--{option.strip('_').replace('_', '-')}" in shown for option in options)


def test_an_option_of_several_commands_has_one_help_text() -> None:
    """Each option reads the same in all commands that have it, but for names that mean different things."""
    texts: dict[str, set[str]] = {}
    for name in ("select", "train", "compare", "fidelity", "evaluate", "finetune"):
        for option, text in help_texts(COMMANDS[name].load()).items():
            texts.setdefault(option, set()).add(text)
    differing = {option for option, said in texts.items() if len(said) > 1}
    assert differing == {"out", "step", "sketch", "groups", "selectors", "loss"}

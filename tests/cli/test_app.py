"""The application is put together from whatever is registered, and outlives a command that is broken."""

from importlib.metadata import EntryPoint
from typing import Any

import pytest
from typer.testing import CliRunner

from coreselect.cli import app
from coreselect.errors import CoreselectError


def registered(monkeypatch: pytest.MonkeyPatch, **commands: str) -> None:
    """Let these be the entry points of `coreselect.commands`."""
    found = [EntryPoint(name, where, "coreselect.commands") for name, where in commands.items()]

    def entry_points(group: str) -> Any:
        return [e for e in found if e.group == group]

    monkeypatch.setattr(app, "entry_points", entry_points)


def test_a_command_that_cannot_be_loaded_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`methods` works; the broken one refuses in a sentence that says why, and is in the help."""
    registered(monkeypatch, methods="coreselect.cli.methods:methods", ours="no.such.module:command")
    runner = CliRunner()
    assert runner.invoke(app.build(), ["methods"]).exit_code == 0
    assert "ours" in runner.invoke(app.build(), ["--help"]).stdout
    broken = runner.invoke(app.build(), ["ours"])
    assert isinstance(broken.exception, CoreselectError)
    assert "No module named 'no'" in str(broken.exception)


def test_known_commands_come_in_the_order_of_their_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """demo first, compare last, others after them by name."""
    where = "coreselect.cli.methods:methods"
    registered(monkeypatch, zebra=where, compare=where, select=where, demo=where, ant=where)
    names = [command.name for command in app.build().registered_commands]
    assert names == ["demo", "select", "compare", "ant", "zebra"]

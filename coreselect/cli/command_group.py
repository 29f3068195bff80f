"""A group of commands that are imported when they are called; their lines in the help are read from their sources."""

from collections.abc import Callable
from functools import wraps
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from typer.core import TyperCommand, TyperGroup

from coreselect.cli.configured_command import command_of
from coreselect.cli.launcher import refuse_several
from coreselect.cli.quiet import can_be_quiet
from coreselect.errors import CoreselectError
from coreselect.support.source import first_docstring_line

GROUP = "coreselect.commands"  # the entry-point group of commands
ORDER = (
    "demo",
    "select",
    "rerun",
    "inspect",
    "convert",
    "methods",
    "train",
    "finetune",
    "evaluate",
    "compare",
    "fidelity",
    "race",
)


class DeferredCommand(TyperCommand):
    """A command that is imported when it is called.

    Args:
        entry: where its function is.
    """

    def __init__(self, entry: EntryPoint) -> None:
        super().__init__(entry.name)
        self.entry = entry

    def describe(self) -> None:
        """Read the line of the help from the source of the function."""
        if self.short_help is None:
            try:
                self.short_help = first_docstring_line(self.entry.module, self.entry.attr)
            except Exception:  # the code of another package may raise anything
                self.short_help = "Cannot be loaded. Call it to see why."

    def make_context(self, info_name: Any, args: Any, parent: Any = None, **extra: Any) -> Any:
        """Import the command, and let it parse its arguments."""
        return self.load().make_context(info_name, args, parent=parent, **extra)

    def load(self) -> Any:
        """Import the function of the command, and make a command of it, with all its options and a configuration file.

        Raises:
            CoreselectError: it cannot be imported, or a launcher has started several processes and it works in one.
        """
        entry = self.entry
        if entry.name in ORDER:
            refuse_several(entry.name)
        try:
            function: Callable[..., Any] = entry.load()
        except Exception as why:  # the code of another package may raise anything
            raise CoreselectError(
                f"the command {entry.name!r} cannot be loaded ({type(why).__name__}: {why}): install its package again."
            ) from why
        return command_of(entry.name, can_be_quiet(_ending_itself(function)))


def _ending_itself(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that code of the user's, which it calls, cannot end as if its work were done."""

    @wraps(function)
    def called(*words: Any, **given: Any) -> Any:
        try:
            return function(*words, **given)
        except SystemExit as why:
            if why.code:
                raise
            raise CoreselectError(
                "code that this command called ended the program before the work was done: look for sys.exit in your own files."
            ) from why

    return called


class CommandGroup(TyperGroup):
    """The commands that are registered under `coreselect.commands`, first the known ones in the order of their use."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        found = {entry.name: entry for entry in entry_points(group=GROUP)}
        for name in sorted(found, key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n)):
            self.add_command(DeferredCommand(found[name]), name)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of that name, with its line of the help."""
        command = super().get_command(ctx, cmd_name)
        if isinstance(command, DeferredCommand):
            command.describe()
        return command

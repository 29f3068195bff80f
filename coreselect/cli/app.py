"""The `coreselect` command: gather the commands, run one, and turn a refusal into one line and exit code 1."""

import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Annotated

import typer
from rich.console import Console

from coreselect.errors import CoreselectError
from coreselect.support.records import versions

ORDER = ("demo", "select", "inspect", "convert", "methods", "train", "finetune", "evaluate", "compare", "fidelity")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(versions()["coreselect"])
        raise typer.Exit


def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Choose the training examples that keep a model robust, and say what is known about the choice."""


def build() -> typer.Typer:
    """Put the application together from every command registered under `coreselect.commands`."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,  # locals are tensors
        add_completion=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_main)
    found = {e.name: e for e in entry_points(group="coreselect.commands")}
    for name in sorted(found, key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n)):
        try:
            command = found[name].load()
        except Exception as why:  # of whoever brought the command: the others shall work all the same
            command = _broken(name, f"{type(why).__name__}: {why}")
        app.command(name)(command)
    return app


def _broken(name: str, why: str) -> Callable[[], None]:
    """Stand in for a command that cannot be loaded: it says so when it is called."""

    def refuse() -> None:
        raise CoreselectError(f"the command {name!r} cannot be loaded ({why}): install anew what brings it.")

    refuse.__doc__ = "Cannot be loaded; call it to see why."
    return refuse


def main() -> None:
    """Run the command line: exit code 0 done, 1 a refusal in one line, 2 wrong usage."""
    try:
        build()()
    except CoreselectError as why:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]refused:[/] {_plain(str(why))}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _plain(text: str) -> str:
    """Keep rich from reading brackets as markup, and a message on one line."""
    return " ".join(text.split()).replace("[", r"\[")

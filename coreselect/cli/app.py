"""The `coreselect` command: run one command, print warnings as notes, and a refusal or a failure as one line, exit code 1."""

import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

import coreselect
from coreselect.cli.command_group import CommandGroup
from coreselect.cli.last_resort import explained
from coreselect.cli.plain_output import plain_streams
from coreselect.errors import CoreselectError, CoreselectWarning


def _version(asked: bool) -> None:
    if asked:
        typer.echo(coreselect.__version__)
        raise typer.Exit


def _main(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Choose a small part of the training data, train on it, and measure what that costs and buys."""
    if isinstance(context.obj, dict):
        context.obj["debug"] = debug


def build() -> typer.Typer:
    """Make the application. Its commands are those registered under the entry-point group `coreselect.commands`."""
    app = typer.Typer(
        cls=CommandGroup,
        no_args_is_help=True,
        pretty_exceptions_show_locals=False,  # locals are tensors
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_main)
    return app


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 a refusal or a failure in one line, 2 wrong usage, 130 interrupted."""
    plain_streams()
    state = {"debug": False}
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show(warnings.showwarning)
            build()(prog_name="coreselect", obj=state)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as why:
        if state["debug"]:
            traceback.print_exception(why)
        if isinstance(why, CoreselectError):
            _say("[bold red]refused:[/]", why)
        else:
            _say("[bold red]failed:[/]", explained(why))
        sys.exit(1)


def _show(usual: Callable[..., None]) -> Callable[..., None]:
    """Return a `warnings.showwarning` that prints a warning of this package as a note; `usual` shows the others."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, CoreselectWarning):
            _say("[yellow]note:[/]", message)
        else:
            usual(message, category, *where, **more)

    return show


def _say(begin: str, message: object) -> None:
    """Print a message on stderr, in one line."""
    from rich.console import Console
    from rich.markup import escape

    Console(stderr=True, highlight=False, soft_wrap=True).print(f"{begin} {escape(_plain(str(message)))}")


def _plain(text: str) -> str:
    """Show control characters as codes, and keep the message on one line."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in " ".join(text.split()))

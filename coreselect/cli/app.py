"""The `coreselect` command: run one command, print warnings as notes, and a refusal as one line with exit code 1."""

import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer

import coreselect
from coreselect.cli.command_group import CommandGroup
from coreselect.errors import CoreselectError, CoreselectWarning


def _version(asked: bool) -> None:
    if asked:
        typer.echo(coreselect.__version__)
        raise typer.Exit


def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Choose the training examples that keep a model robust, and report what is known about the choice."""


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
    """Run the command line. Exit codes: 0 done, 1 a refusal in one line, 2 wrong usage."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show(warnings.showwarning)
            build()(prog_name="coreselect")
    except CoreselectError as why:
        _say("[bold red]refused:[/]", why)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


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

    Console(stderr=True, highlight=False, soft_wrap=True).print(f"{begin} {_plain(str(message))}")


def _plain(text: str) -> str:
    """Escape brackets, which rich would read as markup, and keep the message on one line."""
    return " ".join(text.split()).replace("[", r"\[")

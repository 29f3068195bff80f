"""The `coreselect` command: run one command, and turn a refusal into one line and exit code 1."""

import sys
from typing import Annotated

import typer

import coreselect
from coreselect.cli.command_group import CommandGroup
from coreselect.errors import CoreselectError


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
        build()(prog_name="coreselect")
    except CoreselectError as why:
        from rich.console import Console

        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]refused:[/] {_plain(str(why))}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _plain(text: str) -> str:
    """Escape brackets, which rich would read as markup, and keep the message on one line."""
    return " ".join(text.split()).replace("[", r"\[")

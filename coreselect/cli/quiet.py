"""`--quiet`, which every command has: results go to stdout as always, and nothing but an error is said on stderr."""

import os
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import wraps
from inspect import Parameter, signature
from typing import Annotated, Any, get_type_hints

import typer

from coreselect.cli.option_records import with_parameters

Quiet = Annotated[bool, typer.Option("--quiet", help="Say nothing on stderr but an error: no progress and no notes.")]


def can_be_quiet(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command with the option `--quiet`; one that has it itself is returned as it is."""
    if "quiet" in signature(command).parameters:
        return command

    @wraps(command)
    def called(*, quiet: bool = False, **given: Any) -> Any:
        if not quiet:
            return command(**given)
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stderr(nowhere):
            return command(**given)

    hints = get_type_hints(command, include_extras=True)
    own = [
        p.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints.get(p.name, p.annotation))
        for p in signature(command).parameters.values()
    ]
    quiet = Parameter("quiet", Parameter.KEYWORD_ONLY, default=False, annotation=Quiet)
    return with_parameters(called, [*own, quiet])

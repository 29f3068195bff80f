"""`coreselect rerun`: make the selection of an index file again, and say whether it is the same, or what changed."""

from pathlib import Path
from typing import Annotated

import typer

from coreselect.cli.options import Device, Json


def rerun(
    file: Annotated[
        Path, typer.Argument(help="Complete index file (.npz or .json) of `coreselect select`.", show_default=False)
    ],
    out: Annotated[
        Path | None, typer.Option(help="Write the new selection to this index file too.", show_default=False)
    ] = None,
    json: Json = False,
    device: Device = None,
) -> None:
    """Make the selection of an index file again, and compare the two.

    The file holds the command that made it. That command is run again in this
    folder, and compared with the file: data, model, weights, versions, and the
    picks.

    Exit code 0: the same picks in the same order. 1: other picks, and the table
    says what changed.
    """
    from coreselect.cli.rerun_run import run

    run(file, out, device, json=json)

"""`coreselect convert`: an index file in another format."""

from pathlib import Path
from typing import Annotated

import typer

from coreselect.io.index_file import COMPLETE, ending
from coreselect.io.index_file import convert as convert_file


def convert(
    source: Annotated[Path, typer.Argument(help="An index file.", show_default=False)],
    target: Annotated[
        Path,
        typer.Argument(
            help="Where to: .npz and .json hold everything; .npy, .txt, .csv the indices.", show_default=False
        ),
    ],
) -> None:
    """Write an index file in the format of another ending."""
    indices = convert_file(source, target)
    kept = "everything" if ending(target) in COMPLETE else "positions in the dataset that was selected from, alone"
    typer.echo(f"wrote {target}: {len(indices):,} indices ({kept})", err=True)

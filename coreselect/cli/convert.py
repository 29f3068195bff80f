"""`coreselect convert`: an index file in another format."""

from pathlib import Path
from typing import Annotated

import typer


def convert(
    source: Annotated[Path, typer.Argument(help="The index file to read.", show_default=False)],
    target: Annotated[
        Path,
        typer.Argument(
            help="The file to write: .npz and .json hold everything; .npy, .txt and .csv hold the indices only.",
            show_default=False,
        ),
    ],
) -> None:
    """Write an index file in another format, which the ending of the new name chooses."""
    from coreselect.io.index_file import COMPLETE, ending
    from coreselect.io.index_file import convert as convert_file

    indices = convert_file(source, target)
    kept = "everything" if ending(target) in COMPLETE else "only positions in the dataset that was selected from"
    typer.echo(f"wrote {target}: {len(indices):,} indices ({kept})", err=True)

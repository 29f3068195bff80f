"""`coreselect inspect`: what an index file says about its selection."""

from json import dumps
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from coreselect.cli.show import as_json, summary
from coreselect.data import labels_of, load, names_of
from coreselect.facts import check_length, same_data
from coreselect.types import Selection

OTHER_DATA = "note: the pool's fingerprint is another: the data have changed since, or are read in another way."


def inspect(
    file: Annotated[Path, typer.Argument(help="A complete index file (.npz or .json).", show_default=False)],
    data: Annotated[
        str | None,
        typer.Option(help="The dataset that the selection was made from: adds class balance.", show_default=False),
    ] = None,
    gallery: Annotated[
        Path | None, typer.Option(help="Write a picture (.png) of it; needs --data.", show_default=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, with every pick.")] = False,
    rows: Annotated[
        int | None,
        typer.Option(min=1, help="Rows of the dataset that were kept, as given to select.", show_default=False),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Side of an image folder's images, as given to select.", show_default=False),
    ] = None,
) -> None:
    """Show a selection: sizes, classes, gains, certificate, signs of trouble, time, provenance."""
    if gallery is not None and data is None:
        raise typer.BadParameter("a picture shows images: give --data too.", param_hint="--gallery")
    if data is None and (rows is not None or size is not None):
        raise typer.BadParameter("this says how to read a dataset: give --data too.", param_hint="--rows/--size")
    talk = Console(stderr=True)
    selection = Selection.load(file)
    labels = names = None
    if data is not None:
        dataset = load(data, rows=rows, size=size)
        check_length(selection, len(dataset), data)
        labels, names = labels_of(dataset), names_of(dataset)
        if same_data(selection, dataset) is False:
            talk.print(OTHER_DATA, style="yellow")
        if gallery is not None:
            from coreselect.gallery import draw  # brings matplotlib, which is slow to import

            draw(selection, dataset, gallery, labels=labels, class_names=names)
            talk.print(f"wrote {gallery}", markup=False, highlight=False)
    if json:
        typer.echo(dumps(as_json(selection, labels=labels, class_names=names), allow_nan=False))
    else:
        Console().print(summary(selection, labels=labels, class_names=names))

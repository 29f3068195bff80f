"""`coreselect inspect`: what an index file says about its selection, and how several selections of one pool compare."""

from pathlib import Path
from typing import Annotated

import typer

from coreselect.cli.options import DataOptions, Json

MOST_FILES = 26  # each file is named by a letter


def inspect(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Complete index files (.npz or .json). One is shown; several of one pool are compared.",
            show_default=False,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(help="The dataset that the selection was made from: adds the class balance.", show_default=False),
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option(
            "--gallery",
            "--picture",
            help="Write a picture (.png, .pdf or .svg). For one file: the chosen images (needs --data). For several: their "
            "picks in a plane (needs --features or --data).",
            show_default=False,
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            help="Features for the plane of the picture: .npy [N, D], one row for each example of the pool or of the "
            "dataset. Without it, the plane is of the pixels of the images.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
    rows: Annotated[
        int | None, typer.Option(min=1, help="The --rows that were given to select.", show_default=False)
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, help="The --size that was given to select.", show_default=False)
    ] = None,
    resize: Annotated[
        str | None, typer.Option(help="The --resize that was given to select.", show_default=False)
    ] = None,
) -> None:
    """Show a selection, or compare several selections of one pool.

    One selection is shown with its sizes, classes, gains, certificate,
    diagnostics, time and provenance; with --json, also with every pick.
    """
    one = len(files) == 1
    if len(files) > MOST_FILES:
        raise typer.BadParameter(f"{len(files)} files were given: compare at most {MOST_FILES}.", param_hint="FILES")
    if gallery is not None and data is None and one:
        raise typer.BadParameter("a picture shows images: give --data too.", param_hint="--gallery")
    if gallery is not None and data is None and features is None:
        raise typer.BadParameter("a picture of several files needs --features or --data.", param_hint="--picture")
    if features is not None and (one or gallery is None):
        raise typer.BadParameter("features are for a picture (--picture) of several files.", param_hint="--features")
    if data is None and any(option is not None for option in (rows, size, resize)):
        raise typer.BadParameter(
            "this says how to read a dataset: give --data too.", param_hint="--rows/--size/--resize"
        )

    from coreselect.cli.inspect_run import run

    run(files, None if data is None else DataOptions(data, rows, size, resize), gallery, features, json=json)

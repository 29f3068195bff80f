"""`coreselect inspect`: what an index file says about its selection, and how several of one pool compare."""

from json import dumps
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from coreselect.cli.show import as_json, summary
from coreselect.cli.side_by_side import as_json as all_as_json
from coreselect.cli.side_by_side import comparison, letters
from coreselect.data import labels_of, load, names_of
from coreselect.data.arrays import read_array
from coreselect.errors import DataError
from coreselect.report.agreement import check_same_pool
from coreselect.report.summary import check_length, pool_positions, same_data
from coreselect.support.array_checks import matrix
from coreselect.types import Int64, Selection

OTHER_DATA = "note: the pool's fingerprint is another: the data have changed since, or are read in another way."
MOST_FILES = 26  # a letter each


def inspect(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Complete index files (.npz or .json): one is shown, several of one pool are compared.",
            show_default=False,
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(help="The dataset that the selection was made from: adds class balance.", show_default=False),
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option(
            "--gallery",
            "--picture",
            help="Write a picture (.png): of one file its images (needs --data), of several their picks in a plane "
            "(needs --features or --data).",
            show_default=False,
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            help=".npy [N, D], a row per example of the pool or of the dataset: what that plane is of; without it, of "
            "the images' pixels.",
            show_default=False,
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON: of one file with every pick.")] = False,
    rows: Annotated[
        int | None,
        typer.Option(min=1, help="Rows of the dataset that were kept, as given to select.", show_default=False),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Side of an image folder's images, as given to select.", show_default=False),
    ] = None,
) -> None:
    """Show a selection: sizes, classes, gains, certificate, signs of trouble, time, provenance; or compare several."""
    one = len(files) == 1
    if len(files) > MOST_FILES:
        raise typer.BadParameter(f"{len(files)} files were given: compare at most {MOST_FILES}.", param_hint="FILES")
    if gallery is not None and data is None and one:
        raise typer.BadParameter("a picture shows images: give --data too.", param_hint="--gallery")
    if gallery is not None and data is None and features is None:
        raise typer.BadParameter("a picture of several needs --features or --data.", param_hint="--picture")
    if features is not None and (one or gallery is None):
        raise typer.BadParameter("features are for a picture (--picture) of several files.", param_hint="--features")
    if data is None and (rows is not None or size is not None):
        raise typer.BadParameter("this says how to read a dataset: give --data too.", param_hint="--rows/--size")
    talk = Console(stderr=True)
    selections = [Selection.load(file) for file in files]
    words = [str(file) for file in files]
    check_same_pool(selections, words)
    dataset: Any = None
    labels = names = None
    if data is not None:
        dataset = load(data, rows=rows, size=size)
        for selection in selections:
            check_length(selection, len(dataset), data)
        labels, names = labels_of(dataset), names_of(dataset)
        if same_data(selections[0], dataset) is False:
            talk.print(OTHER_DATA, style="yellow")
    if gallery is not None:
        if one:
            from coreselect.report.gallery import draw  # brings matplotlib, which is slow to import

            draw(selections[0], dataset, gallery, labels=labels, class_names=names)
        else:
            of = _map(selections, gallery, features, dataset)
            talk.print(f"projected {of}", markup=False, highlight=False)
        talk.print(f"wrote {gallery}", markup=False, highlight=False)
    known: dict[str, Any] = {"labels": labels, "class_names": names}
    if json:
        out = as_json(selections[0], **known) if one else all_as_json(selections, words, **known)
        typer.echo(dumps(out, allow_nan=False))
    else:
        Console().print(summary(selections[0], **known) if one else comparison(selections, words, **known))


def _map(selections: list[Selection], path: Path, features: Path | None, dataset: Any) -> str:
    """Draw the picks in the plane of the features, or else of the dataset's pixels; say which."""
    from coreselect.report.overlay import draw_map
    from coreselect.report.projection import project

    if features is not None:
        table = _features(features)
        n, of = len(table), f"{features.name} [{len(table):,} × {table.shape[1]:,}]"
        inside = n == selections[0].provenance.pool_size
        if not inside:
            for selection in selections:
                check_length(selection, n, str(features))
        picks = [s.indices if inside else s.source_indices for s in selections]
        places = project(lambda at: table[at], np.arange(n) if inside else pool_positions(selections[0], n), picks)
    else:
        picks, of = [s.source_indices for s in selections], "the flattened images' pixels"
        places = project(lambda at: _pixels(dataset, at), pool_positions(selections[0], len(dataset)), picks)
    draw_map(selections, letters(len(selections)), places, of, path)
    first, second = places.explained
    return f"{of}: two principal components with {first:.1%} and {second:.1%} of the variance"


def _features(path: Path) -> np.ndarray:
    table = matrix(f"{path}: features", read_array(path))
    assert table is not None  # only None gives None
    return table


def _pixels(dataset: Any, positions: Int64) -> np.ndarray:
    """Images as rows [m, H·W·C] of one length."""
    from coreselect.report.gallery import images_at

    images = images_at(dataset, positions)
    if len({image.shape for image in images}) > 1:
        raise DataError("images of several sizes have no common pixels to project: give --features, or --size.")
    return np.stack([image.ravel() for image in images])

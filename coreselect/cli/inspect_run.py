"""The work of `coreselect inspect`: load the selections, draw the picture, and print what is known."""

from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console

from coreselect.cli.divided_pool import classes_of, impure_again
from coreselect.cli.options import DataOptions
from coreselect.cli.plain_values import as_json
from coreselect.cli.show import summary
from coreselect.cli.side_by_side import as_json as all_as_json
from coreselect.cli.side_by_side import comparison, letters
from coreselect.cli.whole_tables import print_whole
from coreselect.data.arrays import read_array
from coreselect.errors import DataError
from coreselect.io.atomic import check_target
from coreselect.io.fingerprint import fingerprint
from coreselect.report.agreement import check_same_pool
from coreselect.report.summary import check_length, pool_positions, same_data
from coreselect.support.array_checks import matrix
from coreselect.types import Int64, Selection

OTHER_DATA = "note: the fingerprint of the pool differs: the data have changed since, or are read in another way."


def run(
    files: Sequence[Path],
    data: DataOptions | None,
    gallery: Path | None,
    features: Path | None,
    *,
    json: bool,
) -> None:
    """Show one selection, or compare several; draw a picture where one is asked for."""
    if gallery is not None:
        check_target(gallery)
    one, talk = len(files) == 1, Console(stderr=True)
    selections = [Selection.load(file) for file in files]
    names = [str(file) for file in files]
    check_same_pool(selections, names)
    dataset: Any = None
    known: dict[str, Any] = {"labels": None, "class_names": None}
    if data is not None:
        dataset = data.read("train", data.rows)
        for selection in selections:
            check_length(selection, len(dataset), data.data)
        impure = impure_again(selections[0], dataset)
        known = classes_of(dataset, impure)
        made = selections[0].provenance.fingerprint
        if (same_data(selections[0], dataset) if impure is None else fingerprint(impure) == made) is False:
            talk.print(OTHER_DATA, style="yellow")
    if gallery is not None:
        if one:
            from coreselect.report.gallery import draw  # imports matplotlib, which is slow

            draw(selections[0], dataset, gallery, labels=known["labels"], class_names=known["class_names"])
        else:
            drawn = _draw_plane(selections, gallery, features, dataset)
            talk.print(f"projected {drawn}", markup=False, highlight=False)
        talk.print(f"wrote {gallery}", markup=False, highlight=False)
    if json:
        out = as_json(selections[0], **known) if one else all_as_json(selections, names, **known)
        typer.echo(dumps(out, allow_nan=False))
    else:
        print_whole(summary(selections[0], **known) if one else comparison(selections, names, **known), highlight=True)


def _draw_plane(selections: list[Selection], path: Path, features: Path | None, dataset: Any) -> str:
    """Draw the picks in the plane of the features, or of the pixels without features; return what the plane is."""
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
    """Open features [N, D].

    Raises:
        DataError: the file holds no single array.
        ShapeError: the array is no floating-point matrix.
    """
    table = matrix(f"{path}: features", read_array(path))
    assert table is not None  # only None gives None
    return table


def _pixels(dataset: Any, positions: Int64) -> np.ndarray:
    """Return images as rows [m, H·W·C] of one length.

    Raises:
        DataError: the images have several sizes.
    """
    from coreselect.report.images import images_at

    images = images_at(dataset, positions)
    if len({image.shape for image in images}) > 1:
        raise DataError("images of several sizes have no common pixels to project: give --features, or --size.")
    return np.stack([image.ravel() for image in images])

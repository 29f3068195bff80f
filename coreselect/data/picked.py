"""What a dataset says about some of its items without reading them: their classes and the files they come from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coreselect.data.images import labels_of
from coreselect.data.subsets import origin
from coreselect.errors import DataError

Int64 = NDArray[np.int64]


def labels_at(dataset: Any, positions: Int64) -> Int64 | None:
    """Return the labels of the items at some positions, int64 [k]; None if the dataset lists no labels.

    Raises:
        DataError: a position is outside the dataset.
    """
    _check(dataset, positions)
    labels = labels_of(dataset)
    return None if labels is None else labels[positions]


def files_at(dataset: Any, positions: Int64) -> tuple[str, ...] | None:
    """Return the files of the items at some positions, from the dataset's root, with `/`; None if items are no files.

    Files are read from the attribute `files` (our image folders) or `samples` (torchvision's). A file outside the dataset's
    `root`, or of a dataset without one, keeps its path.

    Raises:
        DataError: a position is outside the dataset.
    """
    _check(dataset, positions)
    dataset, at = origin(dataset)
    positions = at[positions]
    listed = getattr(dataset, "files", None) or getattr(dataset, "samples", None)
    if not isinstance(listed, Sequence) or len(listed) != len(dataset):
        return None
    found: list[Any] = [listed[i] for i in positions.tolist()]
    found = [entry[0] if isinstance(entry, tuple) and entry else entry for entry in found]
    if not all(isinstance(entry, str | Path) for entry in found):
        return None
    root = getattr(dataset, "root", None)
    return tuple(_below(Path(entry), root) for entry in found)


def _below(path: Path, root: Any) -> str:
    if isinstance(root, str | Path) and path.is_relative_to(root):
        path = path.relative_to(root)
    return path.as_posix()


def _check(dataset: Any, positions: Int64) -> None:
    if len(positions) and positions.max() >= len(dataset):
        raise DataError(
            f"position {positions.max()} is outside the dataset, which has {len(dataset)} items: give the dataset that was "
            "selected from."
        )

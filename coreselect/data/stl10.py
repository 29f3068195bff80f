"""STL-10 as published: binary files of 96×96 images, with 5,000 labelled ones in ten folds and 100,000 unlabelled ones.

Coates, Lee, Ng, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning", AISTATS 2011. An image is 27,648
bytes: the red, green and blue planes, each column by column. A label is one byte, 1…10. A line of `fold_indices.txt` holds
the positions of a fold's 1,000 training images, from 0 on.
"""

import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coreselect.data.array_folder import read_names
from coreselect.data.images import Images, ImageSet, Int64, UInt8
from coreselect.data.joined import Joined
from coreselect.errors import DataError, UnknownNameError, first_few

SIDE, CLASSES = 96, 10
FOLDER = "stl10_binary"
PARTS = "labelled, unlabelled, all (both, without labels) and fold0 to fold9"
_IMAGE = 3 * SIDE * SIDE
_SPLITS = ("train", "test", "unlabeled")
_FOLDS, _UNLABELLED = "fold_indices.txt", "these images of STL-10 have no labels"


def is_stl10(folder: Path) -> bool:
    """Return whether the folder holds STL-10's binary files, directly or in the published folder."""
    return _place(folder) is not None


def stl10_folder(folder: Path, split: Literal["train", "test"], part: str | None = None) -> ImageSet:
    """Return one split, or a part of the training split; the images stay on disk, memory-mapped.

    Args:
        folder: with the binary files, or with the published folder `stl10_binary`.
        split: "test" has no parts: it is the same for all of them.
        part: `labelled` (also None), `unlabelled`, `all`, or `fold0` … `fold9`.
    Raises:
        DataError: a file is missing or damaged, or files do not fit together.
        UnknownNameError: there is no such part.
    """
    place = _place(folder) or folder
    part = (part or "labelled").replace("unlabeled", "unlabelled")
    fold = re.fullmatch(r"fold([0-9])", part)
    if part not in ("labelled", "unlabelled", "all") and not fold:
        raise UnknownNameError(f"STL-10 has the parts {PARTS}, got {part!r}.")
    if split == "train" and part == "unlabelled":
        return _unlabelled(place)
    whole = _labelled(place, split)
    if split == "test" or part == "labelled":
        return whole
    if part == "all":
        return Joined(whole, _unlabelled(place), "STL-10 train+unlabelled", _UNLABELLED)
    assert fold is not None  # the parts were checked above
    rows = _fold(place / _FOLDS, int(fold[1]), len(whole))
    assert whole.labels is not None  # `_labelled` reads them
    return Images(whole.images[rows], whole.labels[rows], f"STL-10 {part}", whole.classes)


def _place(folder: Path) -> Path | None:
    """Return where the binary files of images are; None if there are none."""
    return next((p for p in (folder, folder / FOLDER) for name in _SPLITS if (p / f"{name}_X.bin").is_file()), None)


def _labelled(place: Path, split: str) -> Images:
    images, path = _images(place / f"{split}_X.bin"), place / f"{split}_y.bin"
    raw = _bytes_of(path)
    if len(raw) != len(images):
        raise DataError(
            f"{path} has {len(raw):,} labels for {len(images):,} images: unpack the published archive again."
        )
    labels = np.frombuffer(raw, np.uint8).astype(np.int64)  # [N]
    wrong = labels[(labels < 1) | (labels > CLASSES)]
    if len(wrong):
        raise DataError(f"{path}: labels of STL-10 are 1…{CLASSES}, one is {wrong[0]}.")
    names = place / "class_names.txt"
    return Images(images, labels - 1, f"STL-10 {split}", read_names(names) if names.is_file() else None)


def _unlabelled(place: Path) -> Images:
    dataset = Images(_images(place / "unlabeled_X.bin"), None, "STL-10 unlabelled")
    dataset.unlabelled = _UNLABELLED
    return dataset


def _images(path: Path) -> UInt8:
    """Return the images of a file, [N, 96, 96, 3], memory-mapped."""
    if not path.is_file():
        raise DataError(f"{path.parent} lacks {path.name}, a file of STL-10: unpack the published archive there.")
    size = path.stat().st_size
    if not size or size % _IMAGE:
        raise DataError(
            f"{path} has {size:,} bytes, not a multiple of the {_IMAGE:,} of an image: it is cut off or damaged."
        )
    planes: NDArray[Any] = np.memmap(path, np.uint8, "r").reshape(-1, 3, SIDE, SIDE)  # [N, colour, column, row]
    return planes.transpose(0, 3, 2, 1)


def _bytes_of(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(f"{path.parent} lacks {path.name}, a file of STL-10: unpack the published archive there.")
    return path.read_bytes()


def _fold(path: Path, number: int, n: int) -> Int64:
    """Return the positions of a fold, in the order of the file.

    Raises:
        DataError: the file has another form, or a position is repeated or out of range.
    """
    lines = _bytes_of(path).decode("ascii", "replace").splitlines()
    words = lines[number].split() if number < len(lines) else []
    if not words or not all(word.isdecimal() and len(word) < 8 for word in words):
        raise DataError(f"{path} has no positions of fold {number}: ten lines with whole numbers from 0 on are needed.")
    rows = np.array(words, np.int64)
    wrong = rows[rows >= n]
    if len(wrong) or len(np.unique(rows)) != len(rows):
        said = f"positions {first_few(wrong.tolist(), 3)} of {n:,} images" if len(wrong) else "repeated positions"
        raise DataError(f"{path}, fold {number}, has {said}: unpack the published archive again.")
    return rows

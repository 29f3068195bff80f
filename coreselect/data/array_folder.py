"""Folders of arrays: `images_train.npy`, `labels_train.npy`, `images_test.npy`, `labels_test.npy`, `class_names.txt`."""

from collections import Counter
from pathlib import Path
from typing import Literal

from coreselect.data.arrays import read_array
from coreselect.data.images import Images
from coreselect.errors import DataError, first_few


def is_array_folder(folder: Path) -> bool:
    """Return whether the folder has an array of images, of either split."""
    return any((folder / f"images_{split}.npy").is_file() for split in ("train", "test"))


def array_folder(folder: Path, split: Literal["train", "test"]) -> Images:
    """Return one split of an array folder; the images stay on disk, memory-mapped.

    `images_<split>.npy` holds uint8 [N, H, W, C] or [N, H, W]. Two files are optional: `labels_<split>.npy` with integers
    [N], and `class_names.txt` with one name in each line.

    Raises:
        DataError: the split is missing, or a file is damaged, pickled, or has another dtype or shape.
    """
    path = folder / f"images_{split}.npy"
    if not path.is_file():
        raise DataError(f"{folder} is an array folder without {path.name}: it has no {split} images.")
    images = read_array(path)
    if images.ndim == 3:
        images = images[..., None]  # [N, H, W, 1]
    labels = folder / f"labels_{split}.npy"
    names = folder / "class_names.txt"
    return Images(
        images,
        read_array(labels) if labels.is_file() else None,
        f"{folder.resolve().name} {split}",
        read_names(names) if names.is_file() else None,
    )


def read_names(path: Path) -> list[str]:
    """Read class names, one in each line.

    Raises:
        DataError: the file is not UTF-8 text, or has an empty line between names, or a name twice.
    """
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").strip().splitlines()]
    except (OSError, UnicodeDecodeError) as why:
        raise DataError(f"{path} cannot be read as class names, one in each line ({why}).") from why
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if "" in names or twice:
        wrong = f"line {names.index('') + 1} is empty" if "" in names else f"{first_few(twice, 3)} is there twice"
        raise DataError(f"{path} names classes by their lines, and {wrong}: write one name of its own for each class.")
    return names

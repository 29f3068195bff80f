"""Array folders: `images_train.npy`, `labels_train.npy`, `images_test.npy`, `labels_test.npy`, `class_names.txt`."""

from pathlib import Path
from typing import Literal

from coreselect.data.arrays import read_array
from coreselect.data.images import Images
from coreselect.errors import DataError


def is_array_folder(folder: Path) -> bool:
    """Say whether the folder holds images of either split."""
    return any((folder / f"images_{split}.npy").is_file() for split in ("train", "test"))


def array_folder(folder: Path, split: Literal["train", "test"]) -> Images:
    """Return a split of an array folder; the images stay on disk, memory-mapped.

    `images_<split>.npy` is uint8 [N, H, W, C] or [N, H, W]; `labels_<split>.npy`, integers [N], and `class_names.txt`,
    one name a line, may be missing.

    Raises:
        DataError: the split is missing, or a file is damaged, pickled, or of another dtype or shape.
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
    """Read class names, one a line.

    Raises:
        DataError: not a text.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").strip().splitlines()]
    except (OSError, UnicodeDecodeError) as why:
        raise DataError(f"{path} cannot be read as class names, one a line ({why}).") from why

"""SVHN as published: `train_32x32.mat`, `test_32x32.mat` and `extra_32x32.mat`, the cropped digits.

Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", NIPS workshop, 2011. A file holds `X`,
uint8 [32, 32, 3, N], and `y`, numbers 1…10 [N, 1]; 10 stands for the digit 0.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np

from coreselect.data.images import Images, ImageSet
from coreselect.data.joined import Joined
from coreselect.data.mat_file import load_mat
from coreselect.errors import DataError, UnknownNameError

PARTS = ("train", "extra", "all")


def is_svhn(folder: Path) -> bool:
    """Return whether the folder holds a file of SVHN."""
    return any((folder / f"{name}_32x32.mat").is_file() for name in ("train", "test", "extra"))


def svhn_folder(folder: Path, split: Literal["train", "test"], part: str | None = None) -> ImageSet:
    """Return one split: labels are the digits 0…9.

    Args:
        folder: with the `.mat` files.
        split: "test" has no parts.
        part: `train` (also None), `extra` (531,131 more images), or `all` of both.
    Raises:
        DataError: a file is missing or damaged.
        UnknownNameError: there is no such part.
    """
    part = part or "train"
    if part not in PARTS:
        raise UnknownNameError(f"SVHN has the parts {', '.join(PARTS)}, got {part!r}.")
    if split == "test":
        return _read(folder / "test_32x32.mat", "test")
    if part == "all":
        both = [_read(folder / f"{name}_32x32.mat", name) for name in ("train", "extra")]
        return Joined(both[0], both[1], "SVHN train+extra")
    return _read(folder / f"{part}_32x32.mat", part)


def _read(path: Path, name: str) -> Images:
    if not path.is_file():
        raise DataError(
            f"{path.parent} lacks {path.name}: SVHN's {name} images are one file, in the format of cropped digits."
        )
    held = load_mat(path, ".mat file of SVHN", variable_names=("X", "y"))
    images: Any = held.get("X")
    labels: Any = held.get("y")
    got = f"{images.dtype} {list(images.shape)}" if isinstance(images, np.ndarray) else "missing"
    if (
        not isinstance(images, np.ndarray)
        or images.dtype != np.uint8
        or images.ndim != 4
        or images.shape[:3] != (32, 32, 3)
    ):
        raise DataError(f"{path} has no images of SVHN: 'X' is {got}, uint8 [32, 32, 3, N] is needed.")
    n = images.shape[3]
    if not isinstance(labels, np.ndarray) or labels.size != n or labels.dtype.kind not in "iuf":
        raise DataError(f"{path} has no labels for its {n:,} images: {n:,} numbers 1…10 are needed in 'y'.")
    digits = labels.reshape(-1)  # [N]
    wrong = digits[~np.isin(digits, np.arange(1, 11))]
    if len(wrong):
        raise DataError(f"{path}: labels of SVHN are 1…10, one is {wrong[0]:g}.")
    return Images(
        images.transpose(3, 0, 1, 2), digits.astype(np.int64) % 10, f"SVHN {name}", [str(d) for d in range(10)]
    )

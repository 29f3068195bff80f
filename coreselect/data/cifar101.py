"""CIFAR-10.1 as published: new test images for CIFAR-10, `cifar10.1_v6_data.npy` with its labels, and the same for v4.

Recht, Roelofs, Schmidt, Shankar, "Do CIFAR-10 Classifiers Generalize to CIFAR-10?", arXiv:1806.00451, 2018. v6 has 2,000
images, balanced; v4 has 2,021.
"""

from pathlib import Path
from typing import Literal

from coreselect.data.arrays import read_array
from coreselect.data.images import Images
from coreselect.errors import DataError, UnknownNameError

VERSIONS = ("v6", "v4")
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")  # as CIFAR-10's


def is_cifar101(folder: Path) -> bool:
    """Return whether the folder holds images of CIFAR-10.1, of either version."""
    return any(_images(folder, version).is_file() for version in VERSIONS)


def cifar101_folder(folder: Path, split: Literal["train", "test"], part: str | None = None) -> Images:
    """Return the test images of one version.

    Args:
        folder: with the `.npy` files.
        split: "test"; there are no training images.
        part: `v6` or `v4`; None is v6, or v4 where that is all there is.
    Raises:
        DataError: training images are asked for, or a file is missing, damaged or of another form.
        UnknownNameError: there is no such version.
    """
    if split == "train":
        raise DataError(f"{folder} is CIFAR-10.1, a test set: it has no train images, take those of CIFAR-10.")
    if part is not None and part not in VERSIONS:
        raise UnknownNameError(f"CIFAR-10.1 has the parts {' and '.join(VERSIONS)}, got {part!r}.")
    version = part or next(v for v in VERSIONS if _images(folder, v).is_file())
    path = _images(folder, version)
    images, labels = read_array(path), read_array(folder / f"cifar10.1_{version}_labels.npy")
    if images.shape[1:] != (32, 32, 3):
        raise DataError(f"{path} has images {list(images.shape)}: uint8 [N, 32, 32, 3] is needed.")
    return Images(images, labels, f"CIFAR-10.1 {version}", NAMES)


def _images(folder: Path, version: str) -> Path:
    return folder / f"cifar10.1_{version}_data.npy"

"""Folders of image files: `root/class/picture.png`, or `root/train/class/…` and `root/test/class/…`."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from coreselect.budget import largest_remainder
from coreselect.data.images import ImageSet, Int64, UInt8, check_rows
from coreselect.errors import DataError, missing_extra

ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})


class ImageFolder(ImageSet):
    """Image files as a dataset; Pillow decodes an image as RGB each time it is read.

    Args:
        files: N paths.
        labels: int64 [N].
        name, class_names: as for `Images`.
        size: the side in pixels of the square to which every image is cropped (around its centre) and resized; None keeps
            the images as they are, and then all must have the size of the first.
    Raises:
        MissingExtraError: Pillow is not installed.
        DataError: `size` is less than 1, or the first image cannot be decoded.
    """

    def __init__(
        self, files: Sequence[Path], labels: Int64, name: str, class_names: Sequence[str], size: int | None = None
    ) -> None:
        try:
            import PIL.Image  # noqa: F401  # so that a missing Pillow is reported now and not at the first item
        except ImportError as why:
            raise missing_extra("Pillow", "data", f"the image folder {name}") from why
        if size is not None and size < 1:
            raise DataError(f"{name}: size is {size}; a side of at least 1 pixel is needed.")
        self.files = tuple(files)
        self.labels: Int64 | None = labels
        self.name = name
        self.classes: tuple[str, ...] | None = tuple(class_names)
        self.size = size
        self._extent = (size, size) if size is not None else self._decode(self.files[0]).shape[:2]

    def __len__(self) -> int:
        return len(self.files)

    def pixels(self, index: int) -> UInt8:
        """Decode image `index` as uint8 [H, W, 3].

        Raises:
            DataError: the file cannot be decoded, or its size differs from that of the first.
        """
        pixels = self._decode(self.files[index])
        if pixels.shape[:2] != self._extent:
            (h, w), (h0, w0) = pixels.shape[:2], self._extent
            raise DataError(
                f"{self.files[index]} is {w}×{h} pixels, {self.files[0].name} is {w0}×{h0}: give one size for all images."
            )
        return pixels

    def first(self, n: int) -> ImageFolder:
        """Return `n` files, the first of every class in proportion; the first n in order might all be of one class."""
        check_rows(n, len(self), self.name)
        assert self.labels is not None and self.classes is not None  # noqa: PT018  # a folder always has both
        counts = np.bincount(self.labels, minlength=len(self.classes)).tolist()
        shares = largest_remainder(n, counts)
        starts = np.cumsum([0, *counts[:-1]])
        kept = [i for start, share in zip(starts.tolist(), shares, strict=True) for i in range(start, start + share)]
        return ImageFolder([self.files[i] for i in kept], self.labels[kept], self.name, self.classes, self.size)

    def _decode(self, path: Path) -> UInt8:
        from PIL import Image, ImageOps

        try:
            with Image.open(path) as image:
                rgb = image.convert("RGB")
        except (
            OSError,
            ValueError,
            SyntaxError,
            EOFError,
            struct.error,
            zlib.error,
            Image.DecompressionBombError,
        ) as why:
            raise DataError(f"{path} cannot be decoded as an image ({' '.join(str(why).split())[:120]}).") from why
        return np.asarray(rgb if self.size is None else ImageOps.fit(rgb, (self.size, self.size)))


def is_image_folder(folder: Path) -> bool:
    """Return whether the folder holds folders with images, directly or under `train` or `test`."""
    return any(
        any(_image_files(inner)) for base in (folder, folder / "train", folder / "test") for inner in _folders(base)
    )


def image_folder(root: Path, split: Literal["train", "test"], size: int | None = None) -> ImageFolder:
    """Return one split of an image folder, with classes and files in sorted order.

    Without `train` and `test` folders, all classes under `root` are the training split. Images may be in subfolders of
    their class. Hidden files and folders are ignored.

    Raises:
        DataError: the split is missing, a class has no image, or the first image cannot be decoded.
        MissingExtraError: Pillow is not installed.
    """
    divided = any(
        _folders(root / part) for part in ("train", "test")
    )  # images directly in `train` mean a class of trains
    base = root / split if divided else root
    if not base.is_dir() or (not divided and split == "test"):
        raise DataError(f"{root} is an image folder without a {split} folder: it has no {split} images.")
    classes = _folders(base)
    files = [sorted(_image_files(folder)) for folder in classes]
    for folder, found in zip(classes, files, strict=True):
        if not found:
            raise DataError(
                f"{folder} is a class without an image ({', '.join(sorted(ENDINGS))}): add images or remove the folder."
            )
    if not classes:
        raise DataError(f"{base} has no class folders: images are expected as {base.name}/class/picture.png.")
    labels = np.repeat(np.arange(len(classes), dtype=np.int64), [len(found) for found in files])
    return ImageFolder(
        [path for found in files for path in found],
        labels,
        f"{root.resolve().name} {split}",
        [f.name for f in classes],
        size,
    )


def _folders(base: Path) -> list[Path]:
    return sorted(p for p in base.iterdir() if p.is_dir() and not p.name.startswith(".")) if base.is_dir() else []


def _image_files(folder: Path) -> Iterator[Path]:
    found = (p for p in folder.rglob("*") if p.suffix.lower() in ENDINGS and p.is_file())
    return (p for p in found if not any(part.startswith(".") for part in p.relative_to(folder).parts))

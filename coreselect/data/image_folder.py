"""Folders of image files: `root/class/picture.png`, or `root/train/class/…` and `root/test/class/…`.

Images are decoded as RGB with 8 bits. Alpha channels and the EXIF orientation are ignored.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from coreselect.budget import largest_remainder
from coreselect.data.decoding import as_rgb
from coreselect.data.folder_layout import find_part, holds_images
from coreselect.data.images import ImageSet, Int64, UInt8, check_rows
from coreselect.errors import DataError, missing_extra


class ImageFolder(ImageSet):
    """Image files as a dataset; Pillow decodes an image as RGB each time it is read.

    Args:
        files: N paths.
        labels: int64 [N], or None.
        name, class_names: as for `Images`.
        size: the side in pixels of the square to which every image is cropped (around its centre) and resized; None keeps
            the images as they are, and then all must have the size of the first.
        unlabelled: why there are no labels, in words for messages.
    Raises:
        MissingExtraError: Pillow is not installed.
        DataError: `size` is less than 1, or the first image cannot be decoded.
    """

    def __init__(
        self,
        files: Sequence[Path],
        labels: Int64 | None,
        name: str,
        class_names: Sequence[str] | None,
        size: int | None = None,
        unlabelled: str = "",
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
        self.classes: tuple[str, ...] | None = None if class_names is None else tuple(class_names)
        self.unlabelled = unlabelled
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
        """Return `n` files, the first of every class in proportion; the first n in order might all be of one class.

        Without labels they are the first n in order.
        """
        check_rows(n, len(self), self.name)
        if self.labels is None:
            return ImageFolder(self.files[:n], None, self.name, self.classes, self.size, self.unlabelled)
        by_class = np.argsort(self.labels, kind="stable")  # [N]
        counts = np.bincount(self.labels).tolist()
        starts = np.cumsum([0, *counts[:-1]]).tolist()
        shares = zip(starts, largest_remainder(n, counts), strict=True)
        kept = sorted(int(by_class[i]) for start, share in shares for i in range(start, start + share))
        return ImageFolder([self.files[i] for i in kept], self.labels[kept], self.name, self.classes, self.size)

    def _decode(self, path: Path) -> UInt8:
        from PIL import Image, ImageOps

        try:
            with Image.open(path) as image:
                rgb = as_rgb(image, str(path))
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
    """Return whether the folder holds images, directly or in its folders."""
    return holds_images(folder)


def image_folder(root: Path, split: Literal["train", "test"], size: int | None = None) -> ImageFolder:
    """Return one split of an image folder, with classes and files in sorted order.

    `coreselect.data.folder_layout` says which folders are splits and which are classes, and how classes are numbered. Images
    may be in subfolders of their class. Hidden files and folders are ignored.

    Raises:
        DataError: the split is missing or ambiguous, a class has no image or is unknown to the training split, or the first
            image cannot be decoded.
        MissingExtraError: Pillow is not installed.
    """
    part = find_part(root, split)
    whole = f"{root.resolve().name} {split}"
    labels = None if part.labels is None else np.array(part.labels, np.int64)
    return ImageFolder(part.files, labels, whole, part.names, size, part.unlabelled)

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
from coreselect.data.folder_layout import find_part, holds_images, unlabelled_files
from coreselect.data.images import ImageSet, Int64, UInt8, check_rows
from coreselect.data.kept_images import KeptImages
from coreselect.data.resizing import RESIZES, check_resize
from coreselect.errors import DataError, UnknownNameError, missing_extra


class ImageFolder(ImageSet):
    """Image files as a dataset; Pillow decodes an image as RGB each time it is read.

    With a `size`, the decoded and resized images are kept if all of them fit into 512 MiB.

    Args:
        files: N paths.
        labels: int64 [N], or None.
        name, class_names: as for `Images`.
        size: the side in pixels of the square to which every image is resized; None keeps the images as they are, and then
            all must have the size of the first.
        unlabelled: why there are no labels, in words for messages.
        resize: how, see `coreselect.data.resizing`; None crops around the centre.
        root: the folder from which the paths of picks are written, or None.
    Raises:
        MissingExtraError: Pillow is not installed.
        DataError: `size` is out of range, or the first image cannot be decoded.
        UnknownNameError: no way of resizing has this name.
    """

    def __init__(
        self,
        files: Sequence[Path],
        labels: Int64 | None,
        name: str,
        class_names: Sequence[str] | None,
        size: int | None = None,
        unlabelled: str = "",
        resize: str | None = None,
        root: Path | None = None,
    ) -> None:
        try:
            import PIL.Image  # noqa: F401  # so that a missing Pillow is reported now and not at the first item
        except ImportError as why:
            raise missing_extra("Pillow", "data", f"the image folder {name}") from why
        self.resize = check_resize(size, resize, name)
        self.files, self.root = tuple(files), root
        self.labels: Int64 | None = labels
        self.name = name
        self.classes: tuple[str, ...] | None = None if class_names is None else tuple(class_names)
        self.unlabelled = unlabelled
        self.size = size
        self.kept = (
            None if size is None else KeptImages.fitting(len(self.files), (size, size, 3))
        )  # before workers fork
        self._extent = (size, size) if size is not None else self._decode(self.files[0]).shape[:2]

    def __len__(self) -> int:
        return len(self.files)

    def pixels(self, index: int) -> UInt8:
        """Decode image `index` as uint8 [H, W, 3].

        Raises:
            DataError: the file cannot be decoded, or its size differs from that of the first.
        """
        index = range(len(self))[index]  # the same place for −1 and N − 1
        found = None if self.kept is None else self.kept.get(index)
        if found is not None:
            return found
        pixels = self._decode(self.files[index])
        if pixels.shape[:2] != self._extent:
            (h, w), (h0, w0) = pixels.shape[:2], self._extent
            raise DataError(
                f"{self.files[index]} is {w}×{h} pixels, {self.files[0].name} is {w0}×{h0}: give one size for all images."
            )
        if self.kept is not None:
            self.kept.put(index, pixels)
        return pixels

    def first(self, n: int) -> ImageFolder:
        """Return `n` files, the first of every class in proportion; the first n in order might all be of one class.

        Without labels they are the first n in order.
        """
        check_rows(n, len(self), self.name)
        how = None if self.size is None else self.resize
        if self.labels is None:
            return ImageFolder(
                self.files[:n], None, self.name, self.classes, self.size, self.unlabelled, how, self.root
            )
        by_class = np.argsort(self.labels, kind="stable")  # [N]
        counts = np.bincount(self.labels).tolist()
        starts = np.cumsum([0, *counts[:-1]]).tolist()
        shares = zip(starts, largest_remainder(n, counts), strict=True)
        kept = sorted(int(by_class[i]) for start, share in shares for i in range(start, start + share))
        files = [self.files[i] for i in kept]
        return ImageFolder(files, self.labels[kept], self.name, self.classes, self.size, resize=how, root=self.root)

    def _decode(self, path: Path) -> UInt8:
        from PIL import Image

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
        return np.asarray(rgb if self.size is None else RESIZES[self.resize](rgb, self.size))


def is_image_folder(folder: Path) -> bool:
    """Return whether the folder holds images, directly or in its folders."""
    return holds_images(folder)


def image_folder(
    root: Path,
    split: Literal["train", "test"],
    part: str | None = None,
    *,
    size: int | None = None,
    resize: str | None = None,
) -> ImageFolder:
    """Return one split of an image folder, with classes and files in sorted order.

    `coreselect.data.folder_layout` says which folders are splits and which are classes, and how classes are numbered. Images
    may be in subfolders of their class. Hidden files and folders are ignored.

    Args:
        root: the folder.
        split: "test" has no parts.
        part: of the training split: None, `unlabelled` (the images of a folder of this name beside it), or `all` of both,
            without labels.
        size, resize: see `ImageFolder`.
    Raises:
        DataError: the split is missing or ambiguous, a class has no image or is unknown to the training split, or the first
            image cannot be decoded.
        UnknownNameError: there is no such part.
        MissingExtraError: Pillow is not installed.
    """
    part = None if part is None else part.replace("unlabeled", "unlabelled")
    if part not in (None, "unlabelled", "all"):
        raise UnknownNameError(f"an image folder has the parts unlabelled and all, got {part!r}.")
    whole = f"{root.resolve().name} {split}"
    if part is not None and split == "train":
        files = unlabelled_files(root)
        files = files if part == "unlabelled" else [*find_part(root, split).files, *files]
        name, why = whole.replace("train", part), f"the part {part} is read without labels"
        return ImageFolder(files, None, name, None, size, why, resize, root)
    found = find_part(root, split)
    labels = None if found.labels is None else np.array(found.labels, np.int64)
    return ImageFolder(found.files, labels, whole, found.names, size, found.unlabelled, resize, root)

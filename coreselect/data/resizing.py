"""Images resized to a square: the ways that papers and programs read images of other sizes, by name.

    fit        the largest centred square, resized by bicubic interpolation
    stretch    the whole image, resized by bilinear interpolation: torchvision's Resize((S, S)) of a Pillow image
    imagenet   the shorter side to S·256/224 by bilinear interpolation, then the centred square of S: how ImageNet is evaluated
    box        the whole image, averaged over boxes: how downsampled ImageNet was made

Pillow does the work. Where an image becomes smaller, its filters average over what they leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from coreselect.data.images import ImageSet, UInt8
from coreselect.data.kept_images import KeptImages
from coreselect.errors import DataError, UnknownNameError, missing_extra

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST = 4096  # pixels; a larger side is a slip of the keyboard, and would take the memory of the machine


def _fit(image: Image, side: int) -> Image:
    from PIL import ImageOps

    return ImageOps.fit(image, (side, side))


def _stretch(image: Image, side: int) -> Image:
    from PIL.Image import Resampling

    return image.resize((side, side), Resampling.BILINEAR)


def _imagenet(image: Image, side: int) -> Image:
    from PIL.Image import Resampling

    w, h = image.size
    short = round(side * 256 / 224)
    w, h = (short, int(short * h / w)) if w <= h else (int(short * w / h), short)
    left, top = round((w - side) / 2), round((h - side) / 2)
    return image.resize((w, h), Resampling.BILINEAR).crop((left, top, left + side, top + side))


def _box(image: Image, side: int) -> Image:
    from PIL.Image import Resampling

    return image.resize((side, side), Resampling.BOX)


RESIZES: Mapping[str, Callable[[Image, int], Image]] = MappingProxyType(
    {"fit": _fit, "stretch": _stretch, "imagenet": _imagenet, "box": _box}
)
DEFAULT = "fit"


def check_resize(size: int | None, resize: str | None, name: str) -> str:
    """Return the way to resize by its name; without a name, `fit`.

    Raises:
        DataError: the side is less than 1 or more than 4,096, a way is given without a side, or Pillow cannot be imported.
        UnknownNameError: no way of resizing has this name.
        MissingExtraError: Pillow is not installed.
    """
    if resize is not None and resize not in RESIZES:
        raise UnknownNameError(f"images are resized by {', '.join(RESIZES)}, got {resize!r}.")
    if size is None:
        if resize is not None:
            raise DataError(f"{name}: resize {resize!r} was given without a size: give the side in pixels too.")
        return DEFAULT
    if not 1 <= size <= LARGEST:
        raise DataError(f"{name}: size is {size}; a side of at least 1 pixel is needed, and at most {LARGEST:,}.")
    try:
        import PIL.Image  # noqa: F401  # so that a missing Pillow is reported now and not at the first item
    except ImportError as why:
        raise missing_extra("Pillow", "data", f"resizing the images of {name}") from why
    return resize or DEFAULT


class Resized(ImageSet):
    """A dataset whose images are resized when they are first read, and kept if all of them fit into 512 MiB.

    Args:
        dataset: images of any size.
        size: the side of the square, in pixels.
        resize: a name in `RESIZES`.
    """

    def __init__(self, dataset: ImageSet, size: int, resize: str | None = None) -> None:
        self.resize = check_resize(size, resize, dataset.name)
        self.dataset, self.size = dataset, size
        self.labels, self.name, self.classes = dataset.labels, dataset.name, dataset.classes
        self.unlabelled = dataset.unlabelled
        self.kept: KeptImages | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    def pixels(self, index: int) -> UInt8:
        """Return image `index`, resized, as uint8 [size, size, C]."""
        index = range(len(self))[index]  # the same place for −1 and N − 1
        found = None if self.kept is None else self.kept.get(index)
        if found is not None:
            return found
        made = resized(self.dataset.pixels(index), self.size, self.resize)
        if self.kept is None:
            self.kept = KeptImages.fitting(len(self), made.shape)
        if self.kept is not None:
            self.kept.put(index, made)
        return made

    def first(self, n: int) -> Resized:
        """Return a dataset of only `n` of the images; see the method of the dataset."""
        return Resized(self.dataset.first(n), self.size, self.resize)


def resized(pixels: UInt8, side: int, resize: str) -> UInt8:
    """Resize uint8 [H, W, C] to [side, side, C]; channels other than three are resized one by one."""
    from PIL import Image

    work = RESIZES[resize]
    if pixels.shape[2] == 3:
        return np.asarray(work(Image.fromarray(np.ascontiguousarray(pixels)), side))
    planes = [work(Image.fromarray(np.ascontiguousarray(pixels[..., c])), side) for c in range(pixels.shape[2])]
    return np.stack([np.asarray(plane) for plane in planes], axis=2)  # [side, side, C]

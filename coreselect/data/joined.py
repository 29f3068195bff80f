"""Two datasets of images of one shape, one after the other; nothing is copied."""

from __future__ import annotations

import numpy as np

from coreselect.data.images import ImageSet, UInt8, check_rows
from coreselect.errors import DataError


class Joined(ImageSet):
    """The images of `a`, then those of `b`. It has labels only if both have them.

    Raises:
        DataError: the images have two shapes.
    """

    def __init__(self, a: ImageSet, b: ImageSet, name: str, unlabelled: str = "") -> None:
        if a.shape != b.shape:
            raise DataError(f"{name}: images are {list(a.shape)} and {list(b.shape)}, one shape is needed.")
        self.a, self.b, self.name, self.classes = a, b, name, a.classes
        self.labels = None if a.labels is None or b.labels is None else np.concatenate([a.labels, b.labels])
        self.unlabelled = unlabelled if self.labels is None else ""

    def __len__(self) -> int:
        return len(self.a) + len(self.b)

    def pixels(self, index: int) -> UInt8:
        """Return image `index` as uint8 [H, W, C]; a negative index counts from the end."""
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"{self.name} has {len(self):,} images, asked for {index}")
        return self.a.pixels(at) if at < len(self.a) else self.b.pixels(at - len(self.a))

    def first(self, n: int) -> ImageSet:
        """Return the first `n` images."""
        check_rows(n, len(self), self.name)
        if n <= len(self.a):
            return self.a.first(n)
        return Joined(self.a, self.b.first(n - len(self.a)), self.name, self.unlabelled)

"""Images that are kept once they are made, in memory that the processes of a loader share."""

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
MEMORY = 512 * 2**20  # bytes: images that need no more in all are kept


class KeptImages:
    """Images of one shape by index. The memory takes space only where something was put.

    Processes that are forked share it, so an image is made once for all of them. A pickled copy is empty.

    Args:
        n: the number of places, at least 1.
        shape: (H, W, C) of every image, uint8.
    """

    def __init__(self, n: int, shape: tuple[int, ...]) -> None:
        self.n, self.shape = n, shape
        bytes_each = int(np.prod(shape))
        memory = np.frombuffer(mmap.mmap(-1, n * (bytes_each + 1)), np.uint8)
        self.images = memory[: n * bytes_each].reshape(n, *shape)  # [N, H, W, C]
        self.known = memory[n * bytes_each :]  # [N], 1 where an image is

    @classmethod
    def fitting(cls, n: int, shape: tuple[int, ...]) -> "KeptImages | None":
        """Return places for `n` images of this shape, or None if they need more than `MEMORY` bytes."""
        return cls(n, shape) if n * int(np.prod(shape)) <= MEMORY else None

    def get(self, index: int) -> UInt8 | None:
        """Return the image at a place, read-only, or None."""
        if not self.known[index]:
            return None
        found = self.images[index]
        found.flags.writeable = False
        return found

    def put(self, index: int, image: UInt8) -> None:
        """Keep an image, unless it has another shape."""
        if image.shape == self.shape:
            self.images[index] = image
            self.known[index] = 1

    def __reduce__(self) -> Any:
        return KeptImages, (self.n, self.shape)

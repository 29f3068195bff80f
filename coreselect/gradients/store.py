"""Where a matrix of rows lives: in memory while it is small, in a memory-mapped temporary file beyond that."""

import tempfile

import numpy as np
import torch
from torch import Tensor

from coreselect.errors import RequirementError

IN_MEMORY = 2 << 30  # bytes of rows held in memory


def allocate(rows: int, width: int, *, like: Tensor, limit: int = IN_MEMORY) -> Tensor:
    """Return an uninitialised matrix [rows, width] of `like`'s dtype.

    Up to `limit` bytes it lies on `like`'s device; beyond, in a temporary file on disk (CPU), which vanishes with it.

    Raises:
        RequirementError: the disk has no room; the message gives the size.
    """
    size = rows * width * like.element_size()
    if size <= limit:
        return torch.empty(rows, width, dtype=like.dtype, device=like.device)
    with tempfile.TemporaryFile(prefix="coreselect-rows-") as file:
        try:
            file.truncate(size)
            shared = np.memmap(
                file, dtype=torch.empty(0, dtype=like.dtype).numpy().dtype, mode="r+", shape=(rows, width)
            )
        except OSError as why:
            raise RequirementError(
                f"{rows} rows of width {width} take {size / 2**30:.1f} GiB on disk and there is no room ({why}): "
                "sketch them, or use larger groups."
            ) from why
    return torch.from_numpy(shared)

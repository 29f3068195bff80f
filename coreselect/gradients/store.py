"""The memory for a matrix of rows: RAM while it is small, otherwise a memory-mapped temporary file."""

import tempfile

import numpy as np
import torch
from torch import Tensor

from coreselect.errors import RequirementError

IN_MEMORY = 2 << 30  # the largest matrix, in bytes, that is kept in RAM

FULL = 8 << 30  # the largest matrix, in bytes, that is made of full rows if nobody asks for a sketch


def in_memory(device: torch.device) -> int:
    """Return how many bytes a matrix may take on a device: `IN_MEMORY`, or half of what is free on a GPU."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    return IN_MEMORY


def allocate(rows: int, width: int, *, like: Tensor, limit: int | None = None) -> Tensor:
    """Return an uninitialised matrix [rows, width] with the dtype of `like`.

    A matrix of up to `limit` bytes (None: `in_memory`) is on the device of `like`. A larger one is on the CPU, in a temporary
    file that is deleted together with the matrix.

    Raises:
        RequirementError: the disk does not have enough space; the message gives the size.
    """
    size = rows * width * like.element_size()
    if size <= (in_memory(like.device) if limit is None else limit):
        return torch.empty(rows, width, dtype=like.dtype, device=like.device)
    with tempfile.TemporaryFile(prefix="coreselect-rows-") as file:
        try:
            file.truncate(size)
            shared = np.memmap(
                file, dtype=torch.empty(0, dtype=like.dtype).numpy().dtype, mode="r+", shape=(rows, width)
            )
        except OSError as why:
            raise RequirementError(
                f"{rows} rows of width {width} take {size / 2**30:.1f} GiB on disk, more than there is space for ({why}): "
                "sketch them, or use larger groups."
            ) from why
    return torch.from_numpy(shared)

"""Read the images of a dataset's items as arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from coreselect.errors import DataError
from coreselect.support.seeding import rng_kept, seed_everything, seeds
from coreselect.types import Int64

IMAGE_KEYS = ("image", "images", "pixel_values", "img", "x", "input")


def images_at(dataset: Any, positions: Int64) -> list[NDArray[np.float32]]:
    """Read images [H, W, 1 or 3], bytes as [0, 1], each with its own seed; no global random state moves.

    Raises:
        DataError: an item has no image.
    """
    out = []
    with rng_kept():
        for i, seed in zip(positions.tolist(), seeds(0, "gallery", indices=positions).tolist(), strict=True):
            seed_everything(seed)
            out.append(_image(dataset[i], i))
    return out


def displayable_at(dataset: Any, positions: Int64) -> list[NDArray[np.float32]]:
    """Read images in [0, 1]; an image with values outside is stretched to its own range.

    Raises:
        DataError: an item has no image.
    """
    out = []
    for image in images_at(dataset, positions):
        low, high = float(image.min()), float(image.max())
        inside = (image - low) / max(high - low, 1e-12) if low < 0 or high > 1 else image
        out.append(np.nan_to_num(inside).astype(np.float32, copy=False))
    return out


def _image(item: Any, index: int) -> NDArray[np.float32]:
    if isinstance(item, Mapping):
        item = next((item[key] for key in IMAGE_KEYS if key in item), None)
    elif isinstance(item, tuple | list) and item:
        item = item[0]
    array = item.detach().cpu().float().numpy() if isinstance(item, Tensor) else np.asarray(item)
    if isinstance(item, Tensor) and array.ndim == 3:
        array = array.transpose(1, 2, 0)  # [H, W, C]
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.dtype.kind not in "buif" or not array.size:
        raise DataError(f"item {index} has no image: give a tensor [C, H, W], an array [H, W, C] or a Pillow image.")
    scaled = array.astype(np.float32) / np.float32(255 if array.dtype == np.uint8 else 1)
    return scaled[..., :3] if array.shape[2] >= 3 else scaled[..., :1]

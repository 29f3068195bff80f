"""Pillow images as arrays: every mode that holds 8 or 16 bits a channel is scaled, floating-point pixels are refused.

Alpha channels and EXIF orientation are ignored, as torchvision's `ImageFolder` ignores them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from coreselect.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

_WHOLE_16 = ("PNG", "PPM")  # formats that hold at most 16 bits, which some releases of Pillow open in the mode "I"
_GREY = ("1", "L", "LA", "La")


def as_rgb(image: Image, name: str) -> Image:
    """Return an image in the mode RGB, with 8 bits a channel.

    Values v of 16 bits become round(v / 257), so that 0…65,535 is spread over 0…255.

    Raises:
        DataError: the pixels are floating-point numbers or integers of 32 bits; the message has `name` and the mode.
    """
    deep = _sixteen_bits(image, name)
    if deep is None:
        return image.convert("RGB")
    from PIL import Image as Pillow

    scaled = (deep.astype(np.uint32) * 255 + 32767) // 65535  # [H, W]
    return Pillow.fromarray(scaled.astype(np.uint8)).convert("RGB")


def as_tensor(image: Image, name: str) -> Tensor:
    """Return an image as float32 [C, H, W] in [0, 1]: one channel for grey images, three for all others.

    Raises:
        DataError: as for `as_rgb`.
    """
    deep = _sixteen_bits(image, name)
    if deep is not None:
        return torch.from_numpy(deep.astype(np.float32) / np.float32(65535))[None]  # [1, H, W]
    return from_bytes(np.asarray(image.convert("L" if image.mode in _GREY else "RGB")))


def from_bytes(pixels: NDArray[np.uint8]) -> Tensor:
    """Return uint8 pixels [H, W] or [H, W, C] as float32 [C, H, W] in [0, 1]."""
    whole = pixels[..., None] if pixels.ndim == 2 else pixels  # [H, W, C]
    return torch.from_numpy(np.ascontiguousarray(whole.transpose(2, 0, 1), np.float32) / np.float32(255))


def _sixteen_bits(image: Image, name: str) -> NDArray[Any] | None:
    """Return the pixels of an image with 16 bits, scaled to the whole range, [H, W]; None for one with 8 bits."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _WHOLE_16):
        pixels = np.asarray(image)
        bits = getattr(image, "tag_v2", {}).get(258, (16,))[0]  # TIFF's BitsPerSample: 12 in files of some cameras
        return pixels if bits == 16 else pixels.astype(np.uint32) * 65535 // ((1 << bits) - 1)
    if image.mode in ("I", "F"):
        raise DataError(
            f"{name} is an image of the mode {image.mode!r} ({'floating-point' if image.mode == 'F' else '32-bit'} "
            "pixels), whose range is not known: save it with 8 or 16 bits a channel."
        )
    return None

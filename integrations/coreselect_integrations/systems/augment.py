"""Random crops with flips, for a whole batch at once: of padded images, or of a part that is resized to the whole."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from coreselect.support.devices import sent
from coreselect_integrations.systems.views import TRIES, crop, crop_boxes, load_kornia
from coreselect_integrations.training.shares import uniform

Augment = Callable[[Tensor, torch.Generator], Tensor]  # (x, generator) → x, on whole batches


CROPS = ("pad", "resized")
LARGE = 160  # pixels, from which on fine-tuning cuts as for ImageNet


def cropped_by(name: str, size: int, *, flip: bool) -> Augment:
    """Return a random crop by its name in `CROPS`: `pad` with a frame of an eighth of the size, or `resized`."""
    return partial(resized_crop_flip, flip=flip) if name == "resized" else partial(crop_flip, pad=size // 8, flip=flip)


def usual_crop(size: int) -> str:
    """Return the crop that is usual in a fine-tuning on images of this size: `resized` for those of ImageNet, else `pad`."""
    return "resized" if size >= LARGE else "pad"


def crop_flip(x: Tensor, generator: torch.Generator, *, pad: int = 4, flip: bool = True) -> Tensor:
    """Pad each image with zeros, cut it out at a random place, and mirror it with probability ½.

    Args:
        x: images [B, C, H, W].
        generator: gives three numbers for each image, whether or not `flip` is on.
        pad: zeros on every side, at least 0; offsets are uniform in 0…2·pad.
        flip: whether to mirror left and right (not for digits or letters).
    Returns:
        [B, C, H, W].
    """
    B, C, H, W = x.shape
    u = sent(uniform((B, 3), generator), x.device)  # [B, 3]
    top, left = (u[:, :2] * (2 * pad + 1)).long().unbind(1)  # [B] each, 0…2·pad
    rows = top[:, None] + torch.arange(H, device=x.device)  # [B, H]
    cols = torch.arange(W, device=x.device).expand(B, W)  # [B, W]
    if flip:
        cols = torch.where(u[:, 2:] < 0.5, W - 1 - cols, cols)
    cols = left[:, None] + cols
    padded = F.pad(x, (pad, pad, pad, pad))  # [B, C, H + 2·pad, W + 2·pad]
    images = torch.arange(B, device=x.device)[:, None, None, None]
    channels = torch.arange(C, device=x.device)[None, :, None, None]
    return padded[images, channels, rows[:, None, :, None], cols[:, None, None, :]]


def resized_crop_flip(
    x: Tensor, generator: torch.Generator, *, scale: tuple[float, float] = (0.08, 1.0), flip: bool = True
) -> Tensor:
    """Cut a rectangle out of each image, resize it to the size of the image, and mirror it with probability ½.

    The rectangle has an area uniform in `scale` times that of the image, and a ratio of sides in [3/4, 4/3]: the usual
    augmentation for ImageNet, of Szegedy et al., "Going Deeper with Convolutions", CVPR 2015. It sees what the batch holds,
    so a crop of an image that was resized before is coarser than one of the original.

    Args:
        x: images [B, C, H, W] in [0, 1].
        generator: gives 23 numbers for each image, whether or not `flip` is on.
        scale: range of the area, a part of the image's, in (0, 1].
        flip: whether to mirror left and right (not for digits or letters).
    Returns:
        [B, C, H, W] in [0, 1], resized by bilinear interpolation.
    Raises:
        MissingExtraError: kornia is not installed.
    """
    B, _, H, W = x.shape
    u = uniform((B, 2 * TRIES + 3), generator).cpu()  # [B, numbers]
    tries, place, mirror = u.split([2 * TRIES, 2, 1], 1)
    cut = crop(load_kornia(), x, crop_boxes(tries.view(B, TRIES, 2), place, H, W, scale), "bilinear")
    mirrored = sent((mirror < 0.5 * flip)[:, :, None, None], x.device)  # [B, 1, 1, 1]
    return torch.where(mirrored, cut.flip(-1), cut)

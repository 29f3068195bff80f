"""Random crops of padded images with flips, for a whole batch at once."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Augment = Callable[[Tensor, torch.Generator], Tensor]  # (x, generator) → x, on whole batches


def uniform(*shape: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """Draw float32 numbers in [0, 1) on the generator's device, and move them to the device of `like`."""
    return torch.rand(shape, generator=generator, device=generator.device).to(like.device)


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
    u = uniform(B, 3, generator=generator, like=x)  # [B, 3]
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

"""Random views of images for contrastive learning: a whole batch at once, every draw from one generator.

Source: the augmentations of Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML
2020, without hue shifts and blurring, and with brightness, contrast and saturation always in that order.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from coreselect_integrations.augment import uniform

_DRAWS = 10  # numbers an image and view
_LUMA = (0.299, 0.587, 0.114)


def two_views(
    x: Tensor,
    generator: torch.Generator,
    *,
    scale: tuple[float, float] = (0.3, 1.0),
    flip: float = 0.5,
    jitter: float = 0.4,
    jitter_probability: float = 0.8,
    grey: float = 0.2,
) -> tuple[Tensor, Tensor]:
    """Make two independent random views of each image: resized crop, mirror, colours, grey.

    Args:
        x: [B, C, H, W], pixels in [0, 1]; B = 1 serves a `Task`, larger B a training loop.
        generator: every draw comes from it, none from a global state.
        scale: range of the crop's share of the area, within (0, 1]; its ratio of sides is log-uniform in [3/4, 4/3].
        flip: probability of mirroring left and right, in [0, 1]; 0 for digits or letters.
        jitter: s in [0, 1); brightness, contrast and saturation are each scaled by a factor in [1 − s, 1 + s].
        jitter_probability: how often colours are jittered at all.
        grey: how often colour is removed. Saturation and grey are skipped unless C = 3.
    Returns:
        two tensors [B, C, H, W] in [0, 1], of the dtype of `x`.
    """
    u = uniform(2, len(x), _DRAWS, generator=generator, like=x).to(x.dtype)  # [2, B, draws]

    def view(u: Tensor) -> Tensor:
        cut = crop_resized(x, u[:, :4], scale, mirror=u[:, 4] < flip)
        return colour(cut, u[:, 5:8], jitter, u[:, 8] < jitter_probability, u[:, 9] < grey)

    return view(u[0]), view(u[1])


def crop_resized(x: Tensor, u: Tensor, scale: tuple[float, float], *, mirror: Tensor) -> Tensor:
    """Resize one rectangle of each image to the whole, bilinearly.

    Sides of the rectangle, as shares of the image's: h = √(a / r), w = √(a · r), at most 1, with area a and ratio r.

    Args:
        x: [B, C, H, W].
        u: [B, 4] in [0, 1): area, log-ratio, horizontal and vertical place.
        scale: range of a.
        mirror: bool [B].
    """
    area = scale[0] + (scale[1] - scale[0]) * u[:, 0]  # [B]
    ratio = torch.exp((2 * u[:, 1] - 1) * math.log(4 / 3))
    w, h = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    theta = x.new_zeros(len(x), 2, 3)  # [B, 2, 3]: output coordinates in [−1, 1] → input coordinates
    theta[:, 0, 0] = torch.where(mirror, -w, w)
    theta[:, 1, 1] = h
    theta[:, 0, 2] = (2 * u[:, 2] - 1) * (1 - w)
    theta[:, 1, 2] = (2 * u[:, 3] - 1) * (1 - h)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)  # [B, H, W, 2]
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def colour(x: Tensor, u: Tensor, jitter: float, jittered: Tensor, grey: Tensor) -> Tensor:
    """Scale brightness, contrast and saturation of some images, and take the colour from some.

    Args:
        x: [B, C, H, W] in [0, 1].
        u: [B, 3] in [0, 1): one number a factor.
        jitter: half-width of the factors' range around 1.
        jittered, grey: bool [B], which images are touched.
    """
    wide = jittered[:, None] * jitter  # [B, 1]
    brightness, contrast, saturation = (1 + (2 * u - 1) * wide)[:, :, None, None, None].unbind(1)  # [B, 1, 1, 1]
    x = (x * brightness).clamp(0, 1)
    x = torch.lerp(_grey(x).mean((-2, -1), keepdim=True), x, contrast).clamp(0, 1)
    if x.shape[1] != 3:
        return x
    x = torch.lerp(_grey(x), x, saturation).clamp(0, 1)
    return torch.where(grey[:, None, None, None], _grey(x), x)


def _grey(x: Tensor) -> Tensor:
    """[B, C, H, W] → luminance [B, 1, H, W]; the channel mean unless C = 3."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    return (x * x.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)

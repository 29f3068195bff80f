"""Two random views of each image for contrastive learning, with a strength s in [0, 1]; kornia changes the images.

    crop    a share of the area in [1 − 0.9·s, 1], with a ratio of sides in [3/4, 4/3], resized to the size of the image
    mirror  with probability ½
    jitter  with probability 0.8·s: brightness, contrast, saturation by factors in 1 ± 0.4·s and hue by ± 0.1·s of a
            turn, in a random order
    grey    with probability 0.2·s

s = 1 gives the augmentations of Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations",
ICML 2020, without blur, as used by Jiang et al., NeurIPS 2020. s is the strength of Luo et al., "Rethinking the
Effect of Data Augmentation in Adversarial Contrastive Learning", ICLR 2023 (DynACL).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from coreselect.errors import RequirementError, ShapeError, missing_extra
from coreselect.gradients.batched_views import with_batches
from coreselect.support.devices import sent
from coreselect_integrations.training.shares import uniform

Resample = Literal["bicubic", "bilinear"]
Adjust = Callable[[Tensor, Tensor], Tensor]  # images [n, C, H, W], one number for each image [n] → images [n, C, H, W]

TRIES = 10  # random crops until one fits into the image
_PARTS = [
    2 * TRIES,
    2,
    1,
    1,
    4,
    4,
    1,
]  # random numbers of a view: crops to try, place, mirror, jitter, order, amounts, grey
_RATIO = 4 / 3


@dataclass(frozen=True, slots=True)
class Kornia:
    """The functions of kornia that views need; their results depend only on their arguments, with no random draws."""

    remap: Callable[..., Tensor]
    brightness: Adjust
    contrast: Adjust
    saturation: Adjust  # 0 is grey
    hue: Adjust  # in radians


def two_views_for_each(
    x: Tensor,
    seeds: Sequence[int],
    *,
    strength: float = 1.0,
    flip: float = 0.5,
    resample: Resample = "bicubic",
) -> tuple[Tensor, Tensor]:
    """Make the two views of each image that `two_views` makes of it alone, with a generator of its own seed.

    The bits are those of one image at a time; the changes are made for all images at once.

    Args:
        x: float [B, C, H, W], pixels in [0, 1].
        seeds: B seeds, one for each image.
        strength, flip, resample: see `two_views`.
    Returns, Raises:
        as `two_views`.
    """
    _check(x, strength, flip, resample)
    own, draws = torch.Generator(), torch.empty(2, len(seeds), sum(_PARTS))  # [2, B, numbers]
    for i, seed in enumerate(seeds):
        draws[:, i] = torch.rand(2, sum(_PARTS), generator=own.manual_seed(seed))
    return _views_from(x, draws.flatten(0, 1), strength, flip, resample)


@with_batches(two_views_for_each)
def two_views(
    x: Tensor,
    generator: torch.Generator,
    *,
    strength: float = 1.0,
    flip: float = 0.5,
    resample: Resample = "bicubic",
) -> tuple[Tensor, Tensor]:
    """Make two independent random views of each image: resized crop, mirror, colour jitter, grey.

    Every view of every image has its own random draws, also for the order of its jitter. Images that do not have three
    channels get brightness and contrast only.

    Args:
        x: float [B, C, H, W], pixels in [0, 1]; a `Task` uses B = 1, a training loop a larger B.
        generator: gives every draw, the same number of draws for all settings; no global state is read or changed.
        strength: s in [0, 1]; 1 is the published setting; 0 only mirrors.
        flip: probability of mirroring left and right, in [0, 1]; 0 for digits or letters.
        resample: how crops are resized; the published way is `bicubic`.
    Returns:
        two tensors [B, C, H, W] in [0, 1], with the dtype and device of `x`.
    Raises:
        ShapeError: x is not a batch of float images.
        RequirementError: a strength or probability is outside [0, 1], or there is no such way to resample.
        MissingExtraError: kornia is not installed.
    """
    _check(x, strength, flip, resample)
    u = uniform((2, len(x), sum(_PARTS)), generator, dim=1).cpu()  # [2, B, numbers]
    return _views_from(x, u.flatten(0, 1), strength, flip, resample)


def _check(x: Tensor, strength: float, flip: float, resample: str) -> None:
    """Refuse what is no batch of float images, and settings out of range."""
    if x.ndim != 4 or not x.is_floating_point():
        raise ShapeError(f"views need float images [B, C, H, W], got {x.dtype} {list(x.shape)}: convert them.")
    if not (0 <= strength <= 1 and 0 <= flip <= 1) or resample not in ("bicubic", "bilinear"):
        raise RequirementError(
            "views need strength and flip in [0, 1] and resample 'bicubic' or 'bilinear', "
            f"got {strength}, {flip} and {resample!r}."
        )


def _views_from(x: Tensor, u: Tensor, strength: float, flip: float, resample: Resample) -> tuple[Tensor, Tensor]:
    """Make both views of x [B, C, H, W] from their random numbers [2B, numbers] on the CPU: first all of one, then the other."""
    kornia = load_kornia()
    views = torch.cat((x, x))  # [2B, C, H, W]: both views are made in one pass
    tries, place, mirror, jittered, order, amounts, grey = u.split(_PARTS, 1)
    if strength:
        H, W = x.shape[-2:]
        boxes = crop_boxes(tries.view(-1, TRIES, 2), place, H, W, (1 - 0.9 * strength, 1.0))
        views = crop(kornia, views, boxes, resample)
    mirrored = sent((mirror < flip)[:, :, None, None], x.device)  # [2B, 1, 1, 1]
    views = torch.where(mirrored, views.flip(-1), views)
    jitter(kornia, views, jittered[:, 0] < 0.8 * strength, order.argsort(1), (2 * amounts - 1) * strength)
    if x.shape[1] == 3:
        change(views, grey[:, 0] < 0.2 * strength, kornia.saturation, torch.zeros_like(grey[:, 0]))
    first, second = views.clamp_(0, 1).chunk(2)
    return first, second


def crop_boxes(tries: Tensor, place: Tensor, H: int, W: int, scale: tuple[float, float]) -> Tensor:
    """Choose rectangles of whole pixels: w = √(a·r), h = √(a/r), rounded, at a uniform place.

    The area a is uniform in scale·H·W, and log r is uniform in ± log 4/3. The first try that fits into the image is used. If
    none fits, the largest rectangle with r in [3/4, 4/3] is used.

    Args:
        tries: [n, T, 2] in [0, 1): gives a and log r of T tries.
        place: [n, 2] in [0, 1): gives left and top.
        H, W: height and width of the image.
        scale: range of a / (H·W), in (0, 1].
    Returns:
        [n, 4] whole numbers: left, top, w, h.
    """
    area = (scale[0] + (scale[1] - scale[0]) * tries[..., 0]) * (H * W)  # [n, T]
    ratio = torch.exp((2 * tries[..., 1] - 1) * math.log(_RATIO))
    sides = torch.stack(((area * ratio).sqrt(), (area / ratio).sqrt()), -1).round()  # [n, T, 2]: w, h
    whole = sides.new_tensor([W, H])
    fits = ((sides >= 1) & (sides <= whole)).all(-1)  # [n, T]
    first = sides.gather(1, fits.int().argmax(1)[:, None, None].expand(-1, 1, 2))[:, 0]  # [n, 2]
    fallback = sides.new_tensor([min(W, round(H * _RATIO)), min(H, round(W * _RATIO))])
    sides = torch.where(fits.any(1, keepdim=True), first, fallback)
    return torch.cat(((place * (whole - sides + 1)).floor(), sides), 1)


def crop(kornia: Kornia, x: Tensor, boxes: Tensor, resample: Resample = "bicubic") -> Tensor:
    """Resize one rectangle of each image to the size of the image: output column j reads column left + (j + ½)·w/W − ½.

    At the edge of a rectangle, interpolation also reads pixels outside it. Outside the image, the image's edge is repeated.

    Args:
        x: [B, C, H, W] in [0, 1].
        boxes: [B, 4]: left, top, w, h.
    Returns:
        [B, C, H, W], clamped to [0, 1], because bicubic interpolation can give values outside.
    """
    B, _, H, W = x.shape
    dtype = torch.promote_types(x.dtype, torch.float32)  # half precision is too coarse for pixel positions
    left, top, w, h = sent(boxes.to(dtype), x.device)[:, :, None].unbind(1)  # [B, 1] each
    columns = left + (torch.arange(W, device=x.device, dtype=dtype) + 0.5) * w / W - 0.5  # [B, W]
    rows = top + (torch.arange(H, device=x.device, dtype=dtype) + 0.5) * h / H - 0.5  # [B, H]
    map_x, map_y = columns[:, None, :].expand(B, H, W), rows[:, :, None].expand(B, H, W)
    out = kornia.remap(x.to(dtype), map_x, map_y, mode=resample, padding_mode="border", align_corners=True)
    return out.clamp(0, 1).to(x.dtype)


def jitter(kornia: Kornia, x: Tensor, on: Tensor, order: Tensor, amounts: Tensor) -> None:
    """Change brightness, contrast, saturation and hue of some images in place, in an order of their own for each image.

    Args:
        x: [B, C, H, W] in [0, 1].
        on: bool [B], which images to change.
        order: permutations of 0…3 [B, 4]; without three channels, 2 and 3 (saturation, hue) change nothing.
        amounts: [B, 4] in [−1, 1], one for each change: three factors 1 + 0.4·amount, and 0.1·amount turns of hue.
    """
    numbers = torch.cat((1 + 0.4 * amounts[:, :3], 0.2 * math.pi * amounts[:, 3:]), 1)  # [B, 4]
    adjust = (kornia.brightness, kornia.contrast, kornia.saturation, kornia.hue)[: 4 if x.shape[1] == 3 else 2]
    for step in order.unbind(1):  # [B]
        for kind, make in enumerate(adjust):
            change(x, on & (step == kind), make, numbers[:, kind])


def change(x: Tensor, on: Tensor, make: Adjust, numbers: Tensor) -> None:
    """Replace, in place, the images where `on` [B], on the CPU, is true by make(images, their numbers)."""
    chosen = on.nonzero()[:, 0]  # [n]
    if len(chosen):
        rows = sent(chosen, x.device)
        x[rows] = make(x[rows], sent(numbers[chosen].to(x.dtype), x.device))


def load_kornia() -> Kornia:
    """Import the functions of kornia that views need.

    Raises:
        MissingExtraError: kornia is not installed.
    """
    try:
        from kornia import enhance
        from kornia.geometry.transform import remap
    except ImportError as why:
        raise missing_extra("kornia", "train", "making random views") from why
    return Kornia(
        remap=remap,
        brightness=enhance.adjust_brightness_accumulative,
        contrast=enhance.adjust_contrast_with_mean_subtraction,
        saturation=enhance.adjust_saturation_with_gray_subtraction,
        hue=enhance.adjust_hue,
    )

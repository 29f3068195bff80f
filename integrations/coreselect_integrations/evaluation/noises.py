"""Noises and digital corruptions of Hendrycks & Dietterich, ICLR 2019, on one image x, float64 [H, W, C] in [0, 1].

    gaussian_noise     x + N(0, c²)
    shot_noise         Poisson(c·x) / c
    impulse_noise      a share c of all values becomes 0 or 1, with equal chances
    brightness         the value of HSV rises by c; hue and saturation stay
    contrast           c·(x − m) + m, m the mean of each channel
    elastic_transform  three points move by U(−c₂, c₂), then each pixel by c₀ times a field that is smoothed with σ = c₁
    pixelate           shrunk to c of the side by averages, and enlarged again
    jpeg_compression   written as JPEG with quality c, and read again

Lengths are in pixels where the table of constants gives shares of the side. Results may leave [0, 1]: the caller clips.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Float = NDArray[np.float64]
Draws = np.random.Generator


def gaussian_noise(x: Float, draws: Draws, c: float) -> Float:
    return x + draws.normal(scale=c, size=x.shape)


def shot_noise(x: Float, draws: Draws, c: float) -> Float:
    return draws.poisson(x * c) / c


def impulse_noise(x: Float, draws: Draws, c: float) -> Float:
    hit, value = draws.random(x.shape) < c, draws.random(x.shape) < 0.5
    return np.where(hit, value.astype(np.float64), x)


def brightness(x: Float, draws: Draws, c: float) -> Float:
    del draws
    value = x.max(axis=2, keepdims=True)  # [H, W, 1]
    raised = np.minimum(value + c, 1)
    return np.where(value > 0, x * raised / np.maximum(value, 1e-12), raised)


def contrast(x: Float, draws: Draws, c: float) -> Float:
    del draws
    mean = x.mean(axis=(0, 1), keepdims=True)  # [1, 1, C]
    return (x - mean) * c + mean


def elastic_transform(x: Float, draws: Draws, strength: float, sigma: float, shift: float) -> Float:
    from scipy.ndimage import gaussian_filter, map_coordinates

    H, W, C = x.shape
    strength, sigma, shift = strength * H, sigma * H, shift * H
    centre, s = np.array([W // 2, H // 2], np.float64), H // 3
    points = centre + np.array([[s, s], [s, -s], [-s, -s]], np.float64)  # [3, (x, y)]
    moved = points + draws.uniform(-shift, shift, points.shape)
    back = np.linalg.solve(np.c_[moved, np.ones(3)], points)  # [3, 2]: (x, y, 1) of the result → where it comes from
    rows, columns = np.mgrid[:H, :W].astype(np.float64)
    fields = [gaussian_filter(draws.uniform(-1, 1, (H, W)), sigma, mode="reflect", truncate=3) * strength for _ in "xy"]
    at = np.stack([columns.ravel(), rows.ravel(), np.ones(H * W)], 1) @ back  # [H·W, (x, y)]
    out = np.empty_like(x)
    for c in range(C):
        affine = map_coordinates(x[..., c], [at[:, 1], at[:, 0]], order=1, mode="mirror").reshape(H, W)
        out[..., c] = map_coordinates(affine, [rows + fields[1], columns + fields[0]], order=1, mode="reflect")
    return out


def pixelate(x: Float, draws: Draws, c: float) -> Float:
    from PIL.Image import Resampling

    del draws
    side, small = x.shape[0], max(1, int(x.shape[0] * c))
    box = Resampling.BOX
    return _through_pillow(x, lambda image: image.resize((small, small), box).resize((side, side), box))


def jpeg_compression(x: Float, draws: Draws, c: float) -> Float:
    from PIL.Image import open as read

    del draws

    def compressed(image: Image) -> Image:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=int(c))
        return read(stream)

    return _through_pillow(x, compressed)


def _through_pillow(x: Float, work: Callable[[Image], Image]) -> Float:
    """Let Pillow change an image, as bytes."""
    from PIL.Image import fromarray

    bytes_ = np.rint(x * 255).astype(np.uint8)
    out = np.asarray(work(fromarray(bytes_[..., 0] if x.shape[2] == 1 else bytes_)), np.float64) / 255
    return out[..., None] if out.ndim == 2 else out

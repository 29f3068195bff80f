"""Blurs of Hendrycks & Dietterich, ICLR 2019, on one image x, float64 [H, W, C] in [0, 1].

    defocus_blur  a disk of radius c₀, itself smoothed with σ = c₁
    glass_blur    smoothed with σ = c₀; in c₂ passes, pixels take the colour of a neighbour at most c₁ away; smoothed again
    motion_blur   a streak of 2·c₀ + 1 pixels with weights exp(−i² / 2c₁²), at an angle in ± 45°
    zoom_blur     the mean of x and of its zooms by 1, 1 + c₁, … below c₀

In the published files of `glass_blur` a pixel takes its neighbour's colour and the neighbour keeps its own, although the
paper speaks of an exchange; so it is here. The streak follows ImageMagick's, which made the published files.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Draws = np.random.Generator


def defocus_blur(x: Float, draws: Draws, radius: float, alias: float) -> Float:
    from scipy.ndimage import correlate

    del draws
    kernel = disk(radius, alias)  # [K, K]
    return np.stack([correlate(x[..., c], kernel, mode="mirror") for c in range(x.shape[2])], axis=2)


def disk(radius: float, alias: float) -> Float:
    """Return the kernel of `defocus_blur`, [K, K], whose sum is 1 up to what smoothing moves over its edge."""
    from scipy.ndimage import correlate1d

    reach, taps = (8, 1) if radius <= 8 else (math.ceil(radius), 2)
    line = np.arange(-reach, reach + 1)
    inside = (line[:, None] ** 2 + line[None] ** 2 <= radius**2).astype(np.float64)  # [K, K]
    bell = np.exp(-(np.arange(-taps, taps + 1) ** 2) / (2 * alias**2))
    bell /= bell.sum()
    kernel = inside / inside.sum()
    return correlate1d(correlate1d(kernel, bell, axis=0, mode="mirror"), bell, axis=1, mode="mirror")


def glass_blur(x: Float, draws: Draws, sigma: float, reach: float, passes: float) -> Float:
    from scipy.ndimage import gaussian_filter

    H, W, C = x.shape
    d = int(reach)
    smooth = np.floor(gaussian_filter(x, (sigma, sigma, 0), mode="nearest") * 255) / 255
    source = list(range(H * W))  # which pixel each pixel's colour comes from
    for _ in range(int(passes)):
        steps = iter(draws.integers(-d, d, ((H - 2 * d) * (W - 2 * d), 2)).tolist())
        for h in range(H - d, d, -1):
            for w in range(W - d, d, -1):
                across, down = next(steps)
                source[h * W + w] = source[(h + down) * W + w + across]
    shuffled = smooth.reshape(H * W, C)[source].reshape(H, W, C)
    return gaussian_filter(shuffled, (sigma, sigma, 0), mode="nearest")


def motion_blur(x: Float, draws: Draws, radius: float, sigma: float) -> Float:
    return streak(x, radius, sigma, draws.uniform(-45, 45))


def streak(x: Float, radius: float, sigma: float, degrees: float) -> Float:
    """Average x [H, W, C] along a ray: weights exp(−i² / 2σ²), i = 0 … 2·radius; beyond the edge, the edge is repeated."""
    H, W, _ = x.shape
    i = np.arange(2 * math.ceil(radius) + 1)
    weights = np.exp(-(i**2) / (2 * sigma**2))
    weights /= weights.sum()
    angle = math.radians(degrees)
    across = np.ceil(i * math.cos(angle) - 0.5).astype(int)
    down = np.ceil(i * math.sin(angle) - 0.5).astype(int)
    out = np.zeros_like(x)
    for weight, dx, dy in zip(weights, across, down, strict=True):
        rows, columns = np.clip(np.arange(H) + dy, 0, H - 1), np.clip(np.arange(W) + dx, 0, W - 1)
        out += weight * x[rows[:, None], columns]
    return out


def zoom_blur(x: Float, draws: Draws, most: float, step: float) -> Float:
    del draws
    factors = np.arange(1, most, step).tolist()
    return np.mean([x, *(clipped_zoom(x, factor) for factor in factors)], axis=0)


def clipped_zoom(x: Float, factor: float) -> Float:
    """Enlarge the centre of x [H, H, C] by a factor ≥ 1, linearly, and cut it to the size of x."""
    from scipy.ndimage import zoom

    H = x.shape[0]
    part = math.ceil(H / factor)
    top = (H - part) // 2
    large = np.asarray(zoom(x[top : top + part, top : top + part], (factor, factor, 1), order=1))
    cut = (large.shape[0] - H) // 2
    return large[cut : cut + H, cut : cut + H]

"""Weather of Hendrycks & Dietterich, ICLR 2019, on one image x, float64 [H, W, C] in [0, 1].

    snow   flakes N(c₀, c₁²), zoomed by c₂, those below c₃ removed, blown along (radius c₄, σ = c₅), over an image that is
           whitened with weight 1 − c₆
    frost  c₀·x + c₁·ice
    fog    (x + c₀·p)·max x / (max x + c₀), p a plasma fractal whose roughness falls by c₁

The published `frost` cuts its ice out of six photographs, which are not part of this package: here the ice is drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from coreselect_integrations.evaluation.blurs import clipped_zoom, streak

Float = NDArray[np.float64]
Draws = np.random.Generator

_GREY = np.array([0.299, 0.587, 0.114])
_ICE = np.array([0.80, 0.88, 0.95])  # the colour of the brightest ice


def snow(
    x: Float,
    draws: Draws,
    mean: float,
    spread: float,
    zoom: float,
    least: float,
    radius: float,
    sigma: float,
    kept: float,
) -> Float:
    flakes = clipped_zoom(draws.normal(mean, spread, (*x.shape[:2], 1)), zoom)  # [H, W, 1]
    flakes = np.clip(np.where(flakes < least, 0, flakes), 0, 1)
    flakes = streak(np.floor(flakes * 255) / 255, radius, sigma, draws.uniform(-135, -45))
    grey = x @ _GREY[:, None] if x.shape[2] == 3 else x  # [H, W, 1]
    white = kept * x + (1 - kept) * np.maximum(x, grey * 1.5 + 0.5)
    return white + flakes + np.rot90(flakes, k=2)


def frost(x: Float, draws: Draws, kept: float, added: float) -> Float:
    H = x.shape[0]
    ridges = 1 - np.abs(
        2 * plasma(draws, H, 1.7) - 1
    )  # [H, H]: bright along the level ½ of a fractal, as needles of ice are
    ice = (ridges**3 * 0.6 + plasma(draws, H, 2.2) * 0.4)[..., None]
    return kept * x + added * ice * (_ICE if x.shape[2] == 3 else 1)


def fog(x: Float, draws: Draws, thickness: float, decay: float) -> Float:
    most = x.max()
    return (x + thickness * plasma(draws, x.shape[0], decay)[..., None]) * most / (most + thickness)


def plasma(draws: Draws, side: int, decay: float) -> Float:
    """Draw a fractal by the diamond-square algorithm on a torus, [side, side] out of the next power of two, in [0, 1].

    Each level halves the distance of known points: a new one is the mean of its four neighbours plus w²·U(−1, 1), and w
    falls by `decay` from level to level.
    """
    n = 1 << max(1, (side - 1).bit_length())
    height, step, w = np.zeros((n, n)), n, 100.0
    while step >= 2:
        half = step // 2
        corners = height[::step, ::step]  # [n / step, n / step]
        pairs = corners + np.roll(corners, -1, 0)
        middles = (pairs + np.roll(pairs, -1, 1)) / 4 + w * draws.uniform(-w, w, corners.shape)
        height[half::step, half::step] = middles
        beside = middles + np.roll(middles, 1, 0) + corners + np.roll(corners, -1, 1)
        height[::step, half::step] = beside / 4 + w * draws.uniform(-w, w, corners.shape)
        above = middles + np.roll(middles, 1, 1) + corners + np.roll(corners, -1, 0)
        height[half::step, ::step] = above / 4 + w * draws.uniform(-w, w, corners.shape)
        step, w = half, w / decay
    height -= height.min()
    return (height / max(height.max(), 1e-12))[:side, :side]

"""Corrupted images that are made here, where CIFAR-10-C or the like is not at hand: the 15 corruptions, named as ours.

The definitions and constants are the published ones (`corruption_constants`), the draws are our own, the ice of `frost` is
drawn, and filters come from scipy and Pillow in place of OpenCV, scikit-image and ImageMagick. So an accuracy on them is
near that on the published files, and must not be reported as that.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from coreselect.data import labels_of, names_of
from coreselect.errors import DataError, UnknownNameError
from coreselect.support.seeding import derive
from coreselect_integrations.evaluation import blurs, noises, weather
from coreselect_integrations.evaluation.corruption_constants import BENCHMARKS, constants, nearest_side
from coreselect_integrations.evaluation.severities import SEVERITIES

FUNCTIONS: Mapping[str, Callable[..., NDArray[np.float64]]] = MappingProxyType(
    {
        "gaussian_noise": noises.gaussian_noise,
        "shot_noise": noises.shot_noise,
        "impulse_noise": noises.impulse_noise,
        "defocus_blur": blurs.defocus_blur,
        "glass_blur": blurs.glass_blur,
        "motion_blur": blurs.motion_blur,
        "zoom_blur": blurs.zoom_blur,
        "snow": weather.snow,
        "frost": weather.frost,
        "fog": weather.fog,
        "brightness": noises.brightness,
        "contrast": noises.contrast,
        "elastic_transform": noises.elastic_transform,
        "pixelate": noises.pixelate,
        "jpeg_compression": noises.jpeg_compression,
    }
)


def corrupt(image: NDArray[np.uint8], corruption: str, severity: int, draws: np.random.Generator) -> NDArray[np.uint8]:
    """Corrupt one image.

    Args:
        image: uint8 [H, H, C], square, C is 1 or 3.
        corruption: a name in `FUNCTIONS`.
        severity: 1 (weakest) … 5.
        draws: gives the noise, angles and fractals.
    Returns:
        uint8 [H, H, C]; fractions are cut off, as in the published files.
    Raises:
        UnknownNameError: there is no such corruption.
        DataError: the severity is out of range, or the image is not square, or has another number of channels.
    """
    check_name(corruption)
    if severity not in SEVERITIES:
        raise DataError(f"severities are 1…5, got {severity!r}.")
    if image.ndim != 3 or image.shape[0] != image.shape[1] or image.shape[2] not in (1, 3):
        raise DataError(
            f"corruptions need square images [H, H, C] with 1 or 3 channels, got {list(image.shape)}: resize them."
        )
    numbers = constants(corruption, severity, image.shape[0])
    made = FUNCTIONS[corruption](image / 255, draws, *numbers)
    return (np.clip(made, 0, 1) * 255).astype(np.uint8)


class Generated(Dataset[tuple[Tensor, int]]):
    """A labelled dataset under one corruption at one severity; an image is corrupted each time it is read.

    The draws depend on (seed, corruption, severity, index) only.

    Args:
        dataset: map-style, items (float image [C, H, H] in [0, 1], label, …).
        corruption, severity: see `corrupt`.
        seed: decides the draws.
    Attributes:
        targets, classes: those that the dataset lists, or None.
    """

    def __init__(self, dataset: Any, corruption: str, severity: int, seed: int = 0) -> None:
        self.dataset, self.corruption, self.severity, self.seed = dataset, corruption, severity, seed
        self.targets, self.classes = labels_of(dataset), names_of(dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        x, y, *_ = self.dataset[index]
        pixels = (x * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).numpy()  # [H, W, C]
        draws = np.random.default_rng(derive(self.seed, "corruption", self.corruption, self.severity, index))
        made = corrupt(pixels, self.corruption, self.severity, draws)
        return torch.from_numpy(made.transpose(2, 0, 1).astype(np.float32) / np.float32(255)), y


def check_name(corruption: str) -> None:
    """Refuse a corruption that is not one of the 15.

    Raises:
        UnknownNameError: it is not.
    """
    if corruption not in FUNCTIONS:
        raise UnknownNameError(f"no corruption is called {corruption!r}; there are {', '.join(FUNCTIONS)}.")


def described(side: int) -> str:
    """Say in words where generated images of a side come from."""
    return f"ours, with the constants of {BENCHMARKS[nearest_side(side)]}"

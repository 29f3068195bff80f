"""A small folder of real photographs of different sizes, as ImageNet's: two classes, cut from the photographs of scikit-learn."""

from pathlib import Path

import numpy as np
import pytest

SIZES = ((300, 260), (280, 420), (256, 256), (390, 300))  # width, height


def photographs(folder: Path, train: int = 4, val: int = 2) -> Path:
    """Write `train/` and `val/` with so many JPEG files of each class; one is grey, one is CMYK."""
    sklearn = pytest.importorskip("sklearn.datasets", reason="the photographs come with scikit-learn")
    image = pytest.importorskip("PIL.Image", reason="JPEG files need coreselect[data]")
    draws = np.random.default_rng(0)
    for name in ("china", "flower"):
        whole = image.fromarray(sklearn.load_sample_image(f"{name}.jpg"))  # 640 × 427
        for split, n in (("train", train), ("val", val)):
            (folder / split / name).mkdir(parents=True)
            for i in range(n):
                w, h = SIZES[i % len(SIZES)]
                left, top = (int(draws.integers(0, most + 1)) for most in (whole.width - w, whole.height - h))
                cut = whole.crop((left, top, left + w, top + h))
                if split == "train" and i < 2:
                    cut = cut.convert(("L", "CMYK")[i])
                cut.save(folder / split / name / f"{i}.JPEG")
    return folder

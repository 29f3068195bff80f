"""CIFAR-100 with the labels of its 20 superclasses, as an array folder.

The comparisons use few images, and a linear head learns almost nothing from a few images of 100 classes.

    python -m benchmarks.coarse --data cifar-100-python --out DIR/cifar100-coarse

`COARSE[fine label]` is the published superclass, in A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*,
2009; the distribution has the same labels as `coarse_labels`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coreselect.data import labels_of, load
from coreselect.errors import DataError

COARSE = np.array(
    [
        4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10,
        12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16,
        12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
    ],
    np.uint8,
)  # fmt: skip


def write(data: str, out: Path, rows: int) -> None:
    """Write `images_*.npy` uint8 [N, H, W, C] and `labels_*.npy` in [0, 20), for the first training images and all test images.

    Raises:
        DataError: the images do not have the labels of CIFAR-100.
    """
    sets: dict[str, Any] = {"train": load(data, "train", rows), "test": load(data, "test")}
    fine = {split: labels_of(held) for split, held in sets.items()}
    for split, labels in fine.items():
        if labels is None or np.max(labels) >= len(COARSE):
            raise DataError(f"{data}, {split}, has no labels of CIFAR-100's {len(COARSE)} classes.")
    out.mkdir(parents=True, exist_ok=True)
    for split, held in sets.items():
        images = np.stack([np.asarray(x) for x, _ in held])  # [N, C, H, W] in [0, 1]
        np.save(out / f"images_{split}.npy", np.rint(255 * images.transpose(0, 2, 3, 1)).astype(np.uint8))
        np.save(out / f"labels_{split}.npy", COARSE[np.asarray(fine[split], np.int64)])


def main(argv: Sequence[str] | None = None) -> int:
    """Write the folder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coarse", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", required=True, help="CIFAR-100, as `coreselect select --data` reads it")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    parser.add_argument("--rows", type=int, default=2_000, help="training images to keep")
    args = parser.parse_args(argv)
    write(args.data, args.out, args.rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

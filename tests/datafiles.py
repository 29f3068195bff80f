"""Small datasets in the published formats, written for tests: 20 images of 32×32 pixels, labels 0…9 twice."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coreselect.data import ImageSet

RNG = np.random.default_rng(0)


PIXELS = RNG.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)  # [N, H, W, C]


FLAT = PIXELS.transpose(0, 3, 1, 2).reshape(20, 3072)  # CIFAR's order: red, green, blue planes


LABELS = np.arange(20) % 10


class Evil:
    """An object whose pickle calls os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def python_cifar10(folder: Path, protocol: int = 2) -> None:
    """Write 5 × 4 training images and 4 test images as CIFAR-10's Python files."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(5):
        batch = {b"data": FLAT[4 * i : 4 * i + 4], b"labels": LABELS[4 * i : 4 * i + 4].tolist(), b"batch_label": b"x"}
        (folder / f"data_batch_{i + 1}").write_bytes(pickle.dumps(batch, protocol))
    (folder / "test_batch").write_bytes(pickle.dumps({"data": FLAT[:4], "labels": LABELS[:4].tolist()}, protocol))
    names = {b"label_names": [b"class %d" % i for i in range(10)]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol))


def python_cifar100(folder: Path) -> None:
    """Write 20 training and 20 test images as CIFAR-100's Python files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "test"):
        held = {b"data": FLAT, b"fine_labels": (LABELS * 10).tolist(), b"coarse_labels": LABELS.tolist()}
        (folder / name).write_bytes(pickle.dumps(held, 2))
    (folder / "meta").write_bytes(pickle.dumps({b"fine_label_names": [b"c%d" % i for i in range(100)]}, 2))


def binary_cifar(folder: Path, classes: int) -> None:
    """Write 20 training and 4 test images as CIFAR's binary files."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = LABELS[:, None] if classes == 10 else np.stack([LABELS, LABELS * 10], 1)
    rows = np.concatenate([labels.astype(np.uint8), FLAT], axis=1)
    if classes == 10:
        for i in range(5):
            (folder / f"data_batch_{i + 1}.bin").write_bytes(rows[4 * i : 4 * i + 4].tobytes())
        (folder / "test_batch.bin").write_bytes(rows[:4].tobytes())
        (folder / "batches.meta.txt").write_text("".join(f"c{i}\n" for i in range(10)) + "\n")
    else:
        (folder / "train.bin").write_bytes(rows.tobytes())
        (folder / "test.bin").write_bytes(rows[:4].tobytes())


def downsampled(folder: Path, *, side: int = 32, batches: int = 10, npz: bool = False, protocol: int = 3) -> None:
    """Write downsampled ImageNet of any side, labels from 1: 2 images in each training batch and 3 validation images."""
    folder.mkdir(parents=True, exist_ok=True)
    flat = PIXELS[:, :side, :side].transpose(0, 3, 1, 2).reshape(20, 3 * side * side)
    held = {f"train_data_batch_{i + 1}": slice(2 * i, 2 * i + 2) for i in range(batches)} | {"val_data": slice(3)}
    for name, rows in held.items():
        content: dict[str, Any] = {"data": flat[rows], "labels": (LABELS[rows] * 111 + 1).tolist()}
        if name != "val_data":
            content["mean"] = flat.mean(0)  # float64 [3·S·S]
        if npz:
            np.savez_compressed(folder / name, **content)
        else:
            (folder / name).write_bytes(pickle.dumps(content, protocol))


def stl10(folder: Path, train: int = 20, test: int = 4, unlabelled: int = 6) -> np.ndarray:
    """Write STL-10's binary files; return the images of its unlabelled part, and of the others from the front, [N, 96, 96, 3].

    The folds are positions 2k and 2k + 1.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(1).integers(0, 256, (max(train, test, unlabelled), 96, 96, 3), dtype=np.uint8)
    planes = pixels.transpose(0, 3, 2, 1)  # [N, colour, column, row], as the files have them
    for name, n in (("train", train), ("test", test), ("unlabeled", unlabelled)):
        (folder / f"{name}_X.bin").write_bytes(planes[:n].tobytes())
        if name != "unlabeled":
            (folder / f"{name}_y.bin").write_bytes(bytes((LABELS[:n] + 1).tolist()))
    (folder / "class_names.txt").write_text("".join(f"c{i}\n" for i in range(10)))
    (folder / "fold_indices.txt").write_text("".join(f"{2 * k} {2 * k + 1} \n" for k in range(10)))
    return pixels


def svhn(folder: Path) -> None:
    """Write SVHN's three files: 20 training, 4 test and 6 extra images; the digit 0 has the label 10."""
    from scipy.io import savemat

    folder.mkdir(parents=True, exist_ok=True)
    y = np.where(LABELS == 0, 10, LABELS).astype(np.uint8)[:, None]  # [N, 1]
    for name, n in (("train", 20), ("test", 4), ("extra", 6)):
        savemat(folder / f"{name}_32x32.mat", {"X": PIXELS[:n].transpose(1, 2, 3, 0), "y": y[:n]}, do_compression=True)


def cifar101(folder: Path, versions: tuple[str, ...] = ("v4", "v6")) -> None:
    """Write CIFAR-10.1: 5 images of v4 and 4 of v6."""
    folder.mkdir(parents=True, exist_ok=True)
    for version in versions:
        n = 5 if version == "v4" else 4
        np.save(folder / f"cifar10.1_{version}_data.npy", PIXELS[:n])
        np.save(folder / f"cifar10.1_{version}_labels.npy", LABELS[:n].astype(np.int32))


def image_files(root: Path, classes: tuple[str, ...] = ("b", "a"), each: int = 3, side: int = 6) -> None:
    """Write `each` PNG files of every class."""
    image = pytest.importorskip("PIL.Image", reason="image folders need coreselect[data]")
    for c, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(each):
            image.fromarray(PIXELS[4 * c + i, :side, :side]).save(root / name / f"{i}.png")


def check(dataset: ImageSet, pixels: np.ndarray, labels: np.ndarray | None) -> None:
    """Assert that every item is the written image, float32 [C, H, W] in [0, 1], with its label."""
    assert len(dataset) == len(pixels)
    for i in range(len(pixels)):
        item = dataset[i]
        image, label = (item, None) if isinstance(item, torch.Tensor) else item
        assert image.dtype == torch.float32
        assert tuple(image.shape) == dataset.shape
        torch.testing.assert_close(
            image, torch.from_numpy(pixels[i].transpose(2, 0, 1) / 255).float(), rtol=1e-6, atol=0
        )
        assert label == (None if labels is None else labels[i])
        assert label is None or type(label) is int

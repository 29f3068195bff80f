"""Downsampled ImageNet as published: `train_data_batch_1` … `_10` and `val_data`, as pickles or `.npz`, with any side S.

Chrabaszcz, Loshchilov, Hutter, "A Downsampled Variant of ImageNet as an Alternative to the CIFAR datasets",
arXiv:1707.08819, 2017. A file holds `data`, uint8 [n, 3·S·S], with the red, green and blue planes of an image, each row by row;
`labels`, n numbers in 1…1000; and, for training, a `mean`, which is not used.
"""

import math
import re
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal

import numpy as np

from coreselect.data import plain_pickle
from coreselect.data.images import Images, Int64, UInt8
from coreselect.errors import DataError
from coreselect.io import npy

CLASSES = 1000
BATCHES = 10  # number of files of the published training split

_FILE = re.compile(r"(?:train_data_batch_([1-9][0-9]{0,5})|val_data)(?:\.npz)?")
# What reading a damaged archive can raise.
_DAMAGE = (
    zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError, SyntaxError, OverflowError, NotImplementedError,
    RuntimeError, OSError, MemoryError, TokenError,
)  # fmt: skip


def is_downsampled(folder: Path) -> bool:
    """Return whether the folder holds files of downsampled ImageNet, of either split."""
    return bool(_batches(folder, "train") or _batches(folder, "test"))


def downsampled_folder(folder: Path, split: Literal["train", "test"]) -> Images:
    """Return one split: the training batches in the order of their numbers, or the validation images as "test".

    Labels become 0…999. The images are read file by file into one array. The first k of the ten batches are enough; the
    name of the dataset then says which batches it holds.

    Raises:
        DataError: a file is missing, exists twice, is damaged, asks to run something, or has images of another side than
            the first file; a label is not in 1…1000; or the images do not fit into memory.
    """
    paths = _checked(folder, split)
    labels: list[Int64] = []
    flat: UInt8 = np.empty((0, 0), np.uint8)
    end = 0
    for path in paths:
        data, some = _npz(path) if path.suffix == ".npz" else _pickled(path)
        if not end:
            flat = _room(paths, data.shape[1])  # [at least N, 3·S·S]
        if data.shape[1] != flat.shape[1]:
            raise DataError(
                f"{path} has images of side {_side(data)}, those of {paths[0].name} have side {_side(flat)}: "
                "keep one size in a folder."
            )
        flat[end : end + len(data)] = data
        labels.append(some)
        end += len(data)
        del data  # frees the memory before the next file is read
    side = _side(flat)
    images = flat[:end].reshape(end, 3, side, side).transpose(0, 2, 3, 1)  # [N, S, S, 3], a view
    part = "" if split == "test" or len(paths) == BATCHES else f", batches 1…{len(paths)}"
    return Images(images, np.concatenate(labels), f"ImageNet-{side} {split}{part}")


def _batches(folder: Path, split: str) -> dict[int, list[Path]]:
    """Return the files of a split by their number; `val_data` has number 1."""
    found: dict[int, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        named = _FILE.fullmatch(path.name)
        if named and (named[1] is not None) == (split == "train") and path.is_file():
            found.setdefault(int(named[1] or 1), []).append(path)
    return found


def _checked(folder: Path, split: str) -> list[Path]:
    """Return the files of a split in order, after checking that each number from 1 on exists once."""
    found = _batches(folder, split)
    if not found:
        raise DataError(
            f"{folder} has no {split} images: {'val_data' if split == 'test' else 'train_data_batch_1'} is needed there."
        )
    missing = sorted(set(range(1, max(found) + 1)) - set(found))
    if missing:
        names = ", ".join(f"train_data_batch_{i}" for i in missing[:8]) + (" and more" if missing[8:] else "")
        raise DataError(
            f"{folder} lacks {names}: there is a train_data_batch_{max(found)}, and it needs all batches before it."
        )
    twice = next((paths for paths in found.values() if len(paths) > 1), None)
    if twice:
        raise DataError(f"{folder} holds both {twice[0].name} and {twice[1].name}: keep one of them.")
    return [found[number][0] for number in sorted(found)]


def _room(paths: list[Path], row: int) -> UInt8:
    """Return an empty array for the images of all files, `row` bytes each.

    A file of b unpacked bytes has at most b / row images, because each pixel takes at least one byte. The array may
    therefore have a few rows too many; they are never written, so they take no memory.
    """
    try:
        rows = sum(_unpacked(path) // row for path in paths)
        return np.empty((rows, row), np.uint8)
    except (MemoryError, ValueError) as why:
        size = sum(_unpacked(path) for path in paths) / 2**30
        raise DataError(
            f"{paths[0].parent} has {size:.1f} GiB of images, more than the free memory: free some, or remove batches."
        ) from why


def _unpacked(path: Path) -> int:
    """Return the number of bytes of a pickle, or of the images in an archive."""
    if path.suffix != ".npz":
        return path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            npy.check_members(archive, path.stat().st_size)
            return archive.getinfo("data.npy").file_size
    except _DAMAGE as why:
        raise _unreadable(path, why) from why


def _pickled(path: Path) -> tuple[UInt8, Int64]:
    with path.open("rb") as file:
        held = plain_pickle.load(file, str(path))
    if not isinstance(held, dict):
        raise DataError(f"{path} holds a {type(held).__name__}: a dict with 'data' and 'labels' is needed.")
    held = {key.decode("utf-8", "replace") if isinstance(key, bytes) else key: value for key, value in held.items()}
    return _arrays(path, held.get("data"), held.get("labels"))


def _npz(path: Path) -> tuple[UInt8, Int64]:
    try:
        with zipfile.ZipFile(path) as archive:
            npy.check_members(archive, path.stat().st_size)
            data, labels = (npy.member(archive, name) for name in ("data.npy", "labels.npy"))
    except _DAMAGE as why:
        raise _unreadable(path, why) from why
    return _arrays(path, data, labels)


def _unreadable(path: Path, why: BaseException) -> DataError:
    said = " ".join(str(why).split())[:120].strip("'\"").rstrip(".")
    return DataError(f"{path} is not a readable .npz archive with arrays data and labels ({said}).")


def _arrays(path: Path, data: Any, labels: Any) -> tuple[UInt8, Int64]:
    """Return images [n, 3·S·S] and labels [n] in 0…999, after checking both."""
    got = f"{data.dtype} {list(data.shape)}" if isinstance(data, np.ndarray) else f"a {type(data).__name__}"
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or not data.size or not _side(data):
        raise DataError(f"{path} has no images under 'data': it is {got}, uint8 [n, 3·S·S] is needed.")
    if isinstance(labels, list) and all(type(label) is int and abs(label) < 2**31 for label in labels):
        labels = np.array(labels, np.int64)
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.shape != data.shape[:1]:
        raise DataError(f"{path} has no labels for its images: {len(data)} integers are needed under 'labels'.")
    wrong = labels[(labels < 1) | (labels > CLASSES)]
    if len(wrong):
        raise DataError(f"{path}: labels of downsampled ImageNet are 1…{CLASSES}, one is {wrong[0]}.")
    return data, labels.astype(np.int64) - 1


def _side(data: UInt8) -> int:
    """Return the side S of images [n, 3·S·S], or 0 if the width has another form."""
    side = math.isqrt(data.shape[1] // 3)
    return side if 3 * side * side == data.shape[1] else 0

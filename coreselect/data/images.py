"""Images with labels as a map-style dataset, in memory or memory-mapped."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Subset

from coreselect.data.labels import one_based, refuse_sparse
from coreselect.errors import DataError, first_few
from coreselect.support.devices import host_array

UInt8 = NDArray[np.uint8]
Int64 = NDArray[np.int64]
Item = Tensor | tuple[Tensor, int]


class ImageSet(Dataset[Item], ABC):
    """A map-style dataset of (float32 image [C, H, W] in [0, 1], int label), or of images only if it has no labels.

    Attributes:
        labels: int64 [N], or None.
        name: the name of the dataset in messages.
        classes: one name for each label value, or None if the names are unknown.
        unlabelled: why there are no labels, in words for messages; may be empty.
    """

    labels: Int64 | None
    name: str
    classes: tuple[str, ...] | None
    unlabelled: str = ""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def pixels(self, index: int) -> UInt8:
        """Return image `index` as uint8 [H, W, C]; a negative index counts from the end."""

    @abstractmethod
    def first(self, n: int) -> ImageSet:
        """Return a dataset of only `n` of the images.

        Raises:
            DataError: `n` is not in 1…N.
        """

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape (C, H, W) of an item."""
        h, w, c = self.pixels(0).shape
        return c, h, w

    def __getitem__(self, index: int) -> Item:
        pixels = self.pixels(index)  # [H, W, C]
        image = torch.from_numpy(
            np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / np.float32(255)
        )  # [C, H, W]
        return image if self.labels is None else (image, int(self.labels[index]))

    def __repr__(self) -> str:
        c, h, w = self.shape
        known = "without labels" if self.labels is None else f"{self.labels.max() + 1} classes"
        return f"{type(self).__name__}({self.name}: {len(self):,} images, {h}×{w}×{c}, {known})"


class Images(ImageSet):
    """Images in one array.

    Args:
        images: uint8 [N, H, W, C], N ≥ 1, C in 1…4; may be memory-mapped, and is never copied as a whole.
        labels: integers ≥ 0, [N], or None.
        name: the name of the dataset in messages.
        class_names: one name for each label value.
    Raises:
        DataError: a dtype, shape or length is wrong, or there are too few names.
    """

    def __init__(
        self, images: UInt8, labels: NDArray[Any] | None, name: str, class_names: Sequence[str] | None = None
    ) -> None:
        if images.dtype != np.uint8 or images.ndim != 4 or not images.size or not 1 <= images.shape[3] <= 4:
            raise DataError(
                f"{name}: images are {images.dtype} {list(images.shape)}, uint8 [N, H, W, C] is needed, C in 1…4."
            )
        self.images = images
        self.labels = None if labels is None else checked_labels(labels, len(images), name)
        self.name = name
        self.classes = checked_names(class_names, self.labels, name)

    def __len__(self) -> int:
        return len(self.images)

    def pixels(self, index: int) -> UInt8:
        """Return image `index` as uint8 [H, W, C]."""
        return self.images[index]

    def first(self, n: int) -> Images:
        """Return the first `n` images, without copying them."""
        check_rows(n, len(self), self.name)
        return Images(self.images[:n], None if self.labels is None else self.labels[:n], self.name, self.classes)


def labels_of(dataset: Any) -> Int64 | None:
    """Return the labels that a dataset lists, int64 [N], without reading an item; None if it lists none.

    The labels are the attribute `labels` or, as in torchvision, `targets`; a `torch.utils.data.Subset` lists those of its
    dataset. A dataset with a `target_transform`, which changes labels when items are read, lists none.
    """
    if getattr(dataset, "target_transform", None) is not None:
        return None
    if isinstance(dataset, Subset):
        inner = labels_of(dataset.dataset)
        return None if inner is None else inner[host_array(dataset.indices).astype(np.int64)]
    for word in ("labels", "targets"):
        found = getattr(dataset, word, None)
        if isinstance(found, Tensor | np.ndarray | list | tuple):
            array = host_array(found)
            if array.shape == (len(dataset),) and array.dtype.kind in "iu":
                return array.astype(np.int64)
    return None


def names_of(dataset: Any) -> tuple[str, ...] | None:
    """Return the class names of a dataset, or of the dataset of a Subset, from `classes`; None if it has none."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    found = getattr(dataset, "classes", None)
    return tuple(map(str, found)) if isinstance(found, list | tuple) else None


def checked_labels(labels: NDArray[Any], n: int, name: str) -> Int64:
    """Return the labels as int64 [n].

    Raises:
        DataError: they are not n integers ≥ 0, or they skip most values (see `coreselect.data.labels.refuse_sparse`).
    """
    if labels.dtype.kind not in "iu" or labels.shape != (n,):
        raise DataError(f"{name}: labels are {labels.dtype} {list(labels.shape)}, integers [{n}] are needed.")
    if labels.min() < 0:
        raise DataError(
            f"{name}: labels count from 0, negative ones are at {first_few(np.flatnonzero(labels < 0).tolist())}."
        )
    refuse_sparse(labels, name)
    return np.array(labels, np.int64)


def checked_names(names: Sequence[str] | None, labels: Int64 | None, name: str) -> tuple[str, ...] | None:
    """Return the class names.

    Raises:
        DataError: there are fewer names than label values.
    """
    if names is None:
        return None
    if labels is not None and len(names) <= labels.max():
        raise DataError(
            f"{name}: labels go up to {labels.max()} and there are {len(names)} class names"
            f"{one_based(labels, len(names))}: name every class."
        )
    return tuple(names)


def check_rows(n: int, available: int, name: str) -> None:
    """Raise DataError if a dataset of `available` examples cannot be cut to n."""
    if not 1 <= n <= available:
        raise DataError(f"{name}: {n} rows were asked for, there are {available}.")

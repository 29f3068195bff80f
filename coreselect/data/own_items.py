"""Datasets of the user's whose items are images in another form than (float [C, H, W], label): converted when they are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from coreselect.data.collate import IMAGE_KEYS, Collate, Failure
from coreselect.data.images import labels_of, names_of
from coreselect.data.labels import LABEL_KEYS
from coreselect.data.subsets import MapStyle, Taken
from coreselect.errors import DataError
from coreselect.support.seeding import rng_kept


class OwnItems(Taken):
    """Items (image, label), or images alone, made of the items of another dataset.

    An image is a Pillow image or a uint8 array [H, W] or [H, W, C], which become float32 [C, H, W] in [0, 1], or such a tensor.
    An item is the image, (image, label, …), or a mapping with usual names, which may hold more; what is more is left out.

    Attributes:
        labels, classes: those that the dataset lists, or None.

    Raises:
        DataError: an item that is read has another form.
    """

    def __init__(self, dataset: MapStyle) -> None:
        self._dataset = dataset
        self.labels, self.classes = labels_of(dataset), names_of(dataset)

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Any:
        return as_pair(self._dataset[index], index)


def with_images(dataset: Any) -> Any:
    """Return a dataset whose items are (float image, label) or float images, as far as they hold images.

    The first item decides: a dataset whose items need no conversion, or hold no image, such as texts, is returned as it is, and
    so is one whose first item cannot be read.
    """
    try:
        with rng_kept():
            item = dataset[0]
    except Exception:  # whoever reads the items says which one fails, and how
        return dataset
    return OwnItems(dataset) if _needs_conversion(item) else dataset


def as_pair(item: Any, position: int) -> Any:
    """Return (image, label), or the image of an item that has no label.

    Raises:
        DataError: the item holds no image that can be converted.
    """
    parts = _parts(item)
    made = Collate()([(position, parts[0])]) if parts else None
    if isinstance(made, Failure):
        raise DataError(f"item {made.position} {made.said}.") from made.cause
    if not isinstance(made, Tensor):
        raise DataError(f"item {position} holds no image, and the first item does: give all items one form.")
    image = made[0]  # [C, H, W]
    return image if len(parts) == 1 else (image, parts[1])


def _parts(item: Any) -> list[Any]:
    """Return the input of an item, and its label if it has one; nothing of a mapping without an image."""
    if isinstance(item, Mapping):
        key = next((k for k in IMAGE_KEYS if k in item), None)
        return [] if key is None else [item[key], *[item[k] for k in LABEL_KEYS if k in item][:1]]
    return list(item[:2]) if isinstance(item, tuple | list) else [item]


def _needs_conversion(item: Any) -> bool:
    """Return whether an item holds an image, and is not (float image, label) or a float image already."""
    parts, mapping = _parts(item), isinstance(item, Mapping)
    if not parts or (mapping and "input_ids" in item):
        return False
    held = parts[0]
    if isinstance(held, Tensor):
        return mapping and held.is_floating_point() and held.dim() == 3
    if isinstance(held, np.ndarray) and held.dtype != np.uint8:
        return False
    made = Collate()([(0, held)])
    return isinstance(made, Tensor) and made.is_floating_point() and made.dim() == 4

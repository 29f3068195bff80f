"""Read from a dataset what a network needs to know: channels, image size and the number of classes; and take a part of it."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from coreselect.data import labels_of
from coreselect.data.items import loaded_in_order
from coreselect.data.labels import refuse_sparse, why_unlabelled
from coreselect.errors import DataError
from coreselect.types import Int64
from coreselect_integrations.networks import NetworkSpec
from coreselect_integrations.own_code import is_own


def image_shape(dataset: Any) -> tuple[int, int]:
    """Return the channels and the shorter side of the first item's image.

    Raises:
        DataError: it is not a float image [C, H, W].
    """
    channels, height, width = _first_shape(dataset)
    return channels, min(height, width)


def square_shape(dataset: Any, name: str) -> tuple[int, int]:
    """Return the channels and the side of the first item's image, for a network of ours: these take square images.

    Args:
        name: whose images they are, in messages.
    Raises:
        DataError: it is not a float image [C, H, H].
    """
    channels, height, width = _first_shape(dataset)
    if height != width:
        why = (
            f"{name} has images of {height}×{width} pixels, and this network takes square ones: give --size, or resize them in "
            "a dataset of your own."
        )
        raise DataError(why)
    return channels, height


def _first_shape(dataset: Any) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of the first item's image, which is read once."""
    item = dataset[0]
    x = item[0] if isinstance(item, tuple | list) else item
    if not isinstance(x, Tensor) or x.dim() != 3 or not x.is_floating_point():
        got = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        why = (
            f"a network needs images as float [C, H, W] in [0, 1], the first item is {got}: convert it in the dataset."
        )
        raise DataError(why)
    channels, height, width = x.shape
    return channels, height, width


def check_images(dataset: Any, spec: NetworkSpec, name: str) -> None:
    """Refuse images whose shape does not fit the network.

    Raises:
        DataError: there are no images, or they do not have the shape in the spec. A network of the user's may take images that
            are not square; its size is the shorter side.
    """
    if not len(dataset):
        why = f"{name} holds no images: at least one is needed."
        raise DataError(why)
    channels, size = image_shape(dataset) if is_own(spec.arch) else square_shape(dataset, name)
    if (channels, size) != (spec.channels, spec.size):
        why = (
            f"{name} has images of {channels} channels and {size} pixels, the network takes {spec.channels} and "
            f"{spec.size}: convert them, or take a network that was made for them."
        )
        raise DataError(why)


def count_classes(dataset: Dataset[Any], num_workers: int = 0) -> int:
    """Return the largest label plus one, at least 2; if the dataset does not list its labels, all items are read once.

    Raises:
        DataError: items carry no integer labels, or these skip most values.
    """
    labels = read_labels(dataset, num_workers)
    refuse_sparse(labels, "the data")
    return max(2, int(labels.max()) + 1)


def read_labels(dataset: Dataset[Any], num_workers: int = 0) -> Int64:
    """Return the labels, int64 [N]; if the dataset does not list them, all items are read once.

    Raises:
        DataError: items carry no integer labels.
    """
    listed = labels_of(dataset)
    if listed is not None:
        return listed
    read: list[Tensor] = []
    for batch in loaded_in_order(dataset, 256, what="pool", num_workers=num_workers):
        y = batch[1] if isinstance(batch, tuple | list) and len(batch) > 1 else None
        if not isinstance(y, Tensor) or y.is_floating_point() or y.dim() != 1:
            why = (
                f"training a classifier needs items (x, y) with integer y{why_unlabelled(dataset)}: use loss 'acl' for data "
                "without labels."
            )
            raise DataError(why)
        read.append(y)
    return torch.cat(read).cpu().numpy()


def evenly_spaced(dataset: Any, rows: int | None) -> Any:
    """Return `rows` evenly spaced images: the first ones would all have one class in a set that is sorted by class."""
    n = len(dataset)
    return dataset if rows is None or rows >= n else Subset(dataset, [i * n // rows for i in range(rows)])

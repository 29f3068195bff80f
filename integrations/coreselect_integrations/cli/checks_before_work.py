"""Checks that commands make before any work begins, so that a mistake costs a second and not a night."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch.utils.data import Subset

from coreselect import holdout
from coreselect.data.labels import SparseLabelsError, why_unlabelled
from coreselect.errors import BudgetError, DataError
from coreselect_integrations.networks import NetworkSpec, Saved, load_network
from coreselect_integrations.pretraining.dataset_shape import count_classes, image_shape


def check_folder(out: Path) -> None:
    """Refuse a folder that cannot be made, or cannot be written to.

    Raises:
        DataError: it is a file, is below a file, or is closed to this user.
    """
    there = next(p for p in (out, *out.absolute().parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        why = f"--out {out} cannot be a folder to write in, because of {there}: give another."
        raise DataError(why)


def network_at(path: Path) -> Saved:
    """Load the network that --from names.

    Raises:
        DataError: there is no file, or it holds no network.
    """
    if not path.is_file():
        why = f"there is no file {path}: --from takes the model.pt that a run of `coreselect train` or `finetune` ends with."
        raise DataError(why)
    return load_network(path)


def check_images(dataset: Any, spec: NetworkSpec, name: str) -> None:
    """Refuse images whose shape does not fit the network.

    Raises:
        DataError: there are no images, or they do not have the shape in the spec.
    """
    if not len(dataset):
        why = f"{name} holds no images: at least one is needed."
        raise DataError(why)
    channels, size = image_shape(dataset)
    if (channels, size) != (spec.channels, spec.size):
        why = (
            f"{name} has images of {channels} channels and {size} pixels, the network takes {spec.channels} and "
            f"{spec.size}: convert them, or take a network that was made for them."
        )
        raise DataError(why)


def classes_in(dataset: Any, name: str, purpose: str) -> int:
    """Count the classes of a labelled dataset.

    Raises:
        DataError: the purpose needs labels, and there are none, or they skip most values.
    """
    try:
        return count_classes(dataset)
    except SparseLabelsError:
        raise
    except DataError as error:
        reason = why_unlabelled(dataset)
        why = f"{purpose} needs labels, and {name} has none{reason}: items (x, y) with an integer y are needed."
        raise DataError(why) from error


def held_out(dataset: Any, size: float, seed: int) -> tuple[Subset[Any], Subset[Any]]:
    """Split a dataset by --validation, a share below 1 or a count. Return (pool, held out).

    Raises:
        DataError: there are fewer than two images.
        BudgetError: one part would be empty.
    """
    n = len(dataset)
    if n < 2:
        why = f"the data holds {n} images: at least two are needed, one of them held out."
        raise DataError(why)
    try:
        return holdout(dataset, int(size) if size >= 1 else size, seed)
    except BudgetError as error:
        why = f"--validation {size:g} of {n:,} images leaves one side empty: give a count from 1 to {n - 1:,}."
        raise BudgetError(why) from error

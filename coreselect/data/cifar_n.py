"""CIFAR-N as published: labels that people gave the training images of CIFAR, in `CIFAR-10_human.pt` and `CIFAR-100_human.pt`.

Wei et al., "Learning with Noisy Labels Revisited: A Study Using Real-World Human Annotations", ICLR 2022. A file is a
dictionary of label arrays that torch saved. It is read without running anything that the file asks for.
"""

import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
import torch

from coreselect.data import plain_pickle
from coreselect.data.images import Images, Int64
from coreselect.errors import DataError, UnknownNameError
from coreselect.io import npy

FILES: Mapping[str, str] = MappingProxyType({"CIFAR-10": "CIFAR-10_human.pt", "CIFAR-100": "CIFAR-100_human.pt"})
_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "clean": "clean_label", "aggre": "aggre_label", "worse": "worse_label", "worst": "worse_label",
        **{f"{word}{i}": f"random_label{i}" for i in (1, 2, 3) for word in ("random", "rand")}, "noisy": "noisy_label",
    }
)  # fmt: skip
_ZIP_DAMAGE = (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError, KeyError, NotImplementedError)


def check_label_set(part: str) -> None:
    """Refuse a name that no file of CIFAR-N uses.

    Raises:
        UnknownNameError: it is none of the names.
    """
    if part not in _KEYS:
        raise UnknownNameError(f"CIFAR has the parts of CIFAR-N, {', '.join(_KEYS)}, got {part!r}.")


def relabelled(dataset: Images, version: str, classes: int, places: list[Path], part: str) -> Images:
    """Return CIFAR's training images with one of the label sets of CIFAR-N.

    Args:
        dataset: the training split with its own labels.
        version: `CIFAR-10` or `CIFAR-100`.
        classes: the number of classes.
        places: folders where the file may lie.
        part: `clean`, `aggre`, `worse` (or `worst`), `random1` … `random3`; for CIFAR-100 `clean` or `noisy`.
    Raises:
        DataError: the file is missing or damaged, or its clean labels are missing or not those of the images.
        UnknownNameError: the file has no such labels.
    """
    path = next((p / FILES[version] for p in places if (p / FILES[version]).is_file()), None)
    if path is None:
        raise DataError(f"labels {part!r} of CIFAR-N need {FILES[version]} beside the images, in {places[0]}.")
    held = _label_sets(path)
    there = [word for word, key in _KEYS.items() if key in held]
    if part not in there:
        raise UnknownNameError(f"{path} has the labels {', '.join(there) or 'of no known name'}, got {part!r}.")
    labels = _checked(held[_KEYS[part]], len(dataset), classes, f"{path}, {_KEYS[part]}")
    if dataset.labels is not None:
        if "clean_label" not in held:
            raise DataError(
                f"{path} has no clean_label, by which the order of its labels is checked: use the published file."
            )
        clean = _checked(held["clean_label"], len(dataset), classes, f"{path}, clean_label")
        differing = int((clean != dataset.labels).sum())
        if differing:
            raise DataError(
                f"{path}: its clean labels differ from those of the images at {differing:,} of {len(dataset):,} places, so the "
                f"two are in different orders: use {version}'s published files in their published order."
            )
    return Images(dataset.images, labels, f"{dataset.name}, {part} labels", dataset.classes)


def _label_sets(path: Path) -> dict[str, Any]:
    """Return what a file holds, by name."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # arrays of numpy, which torch does not read safely, or damage: the plain reader tells them apart
        held = plain_pickle.load(_pickle_in(path), str(path))
    if not isinstance(held, dict):
        _not_labels(path)
    return {str(key): value for key, value in held.items()}


def _pickle_in(path: Path) -> io.BytesIO:
    """Return the pickle of the dictionary, in the zip archives of torch ≥ 1.6 or after the three headers of older files."""
    data = path.read_bytes()
    if not zipfile.is_zipfile(io.BytesIO(data)):
        stream = io.BytesIO(data)
        for _ in range(3):  # a magic number, the version of the format, and the sizes of C's types
            plain_pickle.load(stream, str(path))
        return stream
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            npy.check_members(archive, len(data))
            name = next((n for n in archive.namelist() if n.rsplit("/", 1)[-1] == "data.pkl"), None)
            if name is None:
                _not_labels(path)
            return io.BytesIO(archive.read(name))
    except _ZIP_DAMAGE as why:
        raise DataError(f"{path} is damaged ({' '.join(str(why).split())[:120].rstrip('.')}).") from why


def _not_labels(path: Path) -> NoReturn:
    raise DataError(f"{path} is no file of CIFAR-N: a dictionary of label arrays is needed, as published.")


def _checked(found: Any, n: int, classes: int, where: str) -> Int64:
    try:
        labels = np.asarray(found.numpy() if isinstance(found, torch.Tensor) else found).reshape(-1)
    except (ValueError, TypeError, RuntimeError, pickle.PickleError) as why:
        raise DataError(f"{where} holds no labels ({why}).") from why
    if labels.dtype.kind not in "iu" or len(labels) != n:
        raise DataError(
            f"{where} is {labels.dtype} [{len(labels):,}]: {n:,} whole numbers are needed, one for each image."
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"{where}: labels are 0…{classes - 1}, they go from {labels.min()} to {labels.max()}.")
    return labels.astype(np.int64)

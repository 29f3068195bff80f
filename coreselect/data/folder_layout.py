"""What a folder of images holds: its splits, its classes and their numbers, found from names alone.

Folders called train or training, test or testing, val, valid or validation (in any case) are splits, never classes.
Classes are numbered by the training split's names in sorted order, in every split, so that a number means the same class
everywhere.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from coreselect.data import label_lists
from coreselect.data.annotations import annotated, has_annotations
from coreselect.errors import CoreselectWarning, DataError, first_few

ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_SPLITS = {
    "train": "train", "training": "train", "test": "test", "testing": "test",
    "val": "val", "valid": "val", "validation": "val",
}  # fmt: skip
_UNLABELLED = ("unlabelled", "unlabeled")


@dataclass(frozen=True)
class Part:
    """One split of an image folder.

    Attributes:
        files: N paths, class by class where there are classes.
        names: the class names in the order of their numbers, or None without labels.
        labels: a class number for each file, or None.
        folder: where the split lies.
        unlabelled: why there are no labels, in words for messages; empty if there are labels.
    """

    files: list[Path]
    names: tuple[str, ...] | None
    labels: list[int] | None
    folder: Path
    unlabelled: str = ""


def holds_images(root: Path) -> bool:
    """Return whether there is an image file in the folder or in one of its folders."""
    return next(image_files(root), None) is not None


def find_part(root: Path, split: Literal["train", "test"]) -> Part:
    """Return the files and labels of one split.

    A `val` split serves as test where there is no test split with labels; a `CoreselectWarning` says so. A split is
    unlabelled if its images lie right in it, or in a single folder.

    Raises:
        DataError: the split is missing or ambiguous, a class has no image, or a class is unknown to the training split.
    """
    splits = _splits(root)
    if not splits:
        if split == "test":
            raise DataError(f"{root} is an image folder without a test folder: it has no test images.")
        if len(_folders(root)) > 1:
            _refuse_unlabelled_class(root)
        return _part(root, None)
    _refuse_beside(root, splits)
    names = None if split == "train" or "train" not in splits else _names(splits["train"])
    part = _part(splits[split], names) if split in splits else None
    if split == "test" and "val" in splits and (part is None or part.labels is None):
        held = _part(splits["val"], names)
        if part is None or held.labels is not None:
            why = (
                f"{root} has no test folder" if part is None else f"the test images have no labels ({part.unlabelled})"
            )
            warnings.warn(f"{why}: {splits['val']} serves as the test split.", CoreselectWarning, stacklevel=4)
            part = held
    if part is None:
        there = ", ".join(folder.name for folder in splits.values())
        raise DataError(
            f"{root} is an image folder without a {split} folder (it has {there}): it has no {split} images."
        )
    return part


def image_files(folder: Path) -> Iterator[Path]:
    """Yield the image files in a folder and in its folders; hidden files and folders are left out, links are followed."""
    return _image_files(folder, frozenset())


def _image_files(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    """Yield the image files of a folder; `above` are the folders around it, into which a link may lead back."""
    here = folder.resolve()
    if any(here == known or here in known.parents for known in above):
        return
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except (PermissionError, FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir():
            yield from _image_files(folder / entry.name, above | {here})
        elif Path(entry.name).suffix.lower() in ENDINGS and entry.is_file():
            yield folder / entry.name


def unlabelled_files(root: Path) -> list[Path]:
    """Return the images of the folder `unlabelled` (or `unlabeled`, in any case) beside the splits, sorted.

    Raises:
        DataError: there is no such folder, no image in it, or no folder train beside it.
    """
    if not _splits(root):
        _refuse_unlabelled_class(root)
    folder = _unlabelled(root)
    files = [] if folder is None else sorted(image_files(folder))
    if not files:
        raise DataError(
            f"{root} has no folder `unlabelled` with images beside its splits: leave the part out, or add it."
        )
    return files


def _refuse_unlabelled_class(root: Path) -> None:
    """Refuse a folder of unlabelled images where there are no splits: it would be a class."""
    found = _unlabelled(root)
    if found is not None:
        raise DataError(
            f"{root} has the folder {found.name} and no train folder beside it: move the other images into train, or rename it."
        )


def _unlabelled(root: Path) -> Path | None:
    return next((f for f in _folders(root) if f.name.lower() in _UNLABELLED), None)


def _splits(root: Path) -> dict[str, Path]:
    """Return the folders that are splits, by kind."""
    out: dict[str, Path] = {}
    for folder in _folders(root):
        kind = _SPLITS.get(folder.name.lower())
        if kind is not None and kind in out:
            raise DataError(
                f"{root} has the folders {out[kind].name} and {folder.name} for one split: keep one of them."
            )
        if kind is not None:
            out[kind] = folder
    return out


def _refuse_beside(root: Path, splits: dict[str, Path]) -> None:
    """Refuse class folders that stand beside split folders without classes: nobody can know which are meant."""
    if any(_folders(folder) for folder in splits.values()):
        return
    beside = {*splits.values(), _unlabelled(root)}
    others = [f for f in _folders(root) if f not in beside and holds_images(f)]
    if others:
        raise DataError(
            f"{root} has the class folders {first_few([f.name for f in others], 3)} beside "
            f"{', '.join(folder.name for folder in splits.values())}, which is the name of a split and not of a class: move the "
            "classes into a train folder, or rename it."
        )


def _names(train: Path) -> tuple[str, ...] | None:
    """Return the class names of the training split, by which other splits are numbered; None if it has no labels."""
    names = tuple(folder.name for folder in _folders(train))
    return names if len(names) > 1 else None


def _part(base: Path, known: Sequence[str] | None) -> Part:
    """Read one split, numbered by the names that are known, else by its own."""
    classes = _folders(base)
    if has_annotations(base):
        files = sorted(image_files(base))
        listed = annotated(base, files)
        names = tuple(sorted(set(listed))) if known is None else tuple(known)
        _refuse_unknown(base, sorted(set(listed)), names)
        return Part(files, names, [names.index(name) for name in listed], base)
    if not classes or (len(classes) == 1 and (known is None or _is_heap(classes[0], known))):
        files = sorted(image_files(base))
        by_file = label_lists.label_list(base) if files and _SPLITS.get(base.name.lower()) in ("val", "test") else None
        if by_file is not None:
            found = label_lists.listed(by_file, files, known)
            return Part(files, found.names, found.labels, base)
        if not files:
            raise DataError(
                f"{base} has no image ({', '.join(sorted(ENDINGS))}): {base.name}/class/picture.png is needed."
            )
        where = f"only the class folder {classes[0].name!r}" if classes else "no class folders"
        return Part(files, None, None, base, f"{base} has {where}; labels need at least two")
    names = tuple(folder.name for folder in classes) if known is None else tuple(known)
    _refuse_unknown(base, [folder.name for folder in classes], names)
    files, labels = [], []
    for folder in classes:
        found = sorted(image_files(folder))
        if not found:
            raise DataError(
                f"{folder} is a class without an image ({', '.join(sorted(ENDINGS))}): add images or remove the folder."
            )
        files += found
        labels += [names.index(folder.name)] * len(found)
    return Part(files, names, labels, base)


def _is_heap(folder: Path, known: Sequence[str] | None) -> bool:
    """Return whether a split's only folder is called `images` and is no class of the training split."""
    return folder.name.lower() == "images" and folder.name not in (known or ())


def _refuse_unknown(base: Path, found: Sequence[str], names: Sequence[str]) -> None:
    unknown = [name for name in found if name not in names]
    if unknown:
        raise DataError(
            f"{base} has classes that the training split does not have ({first_few(unknown, 3)}): its classes are "
            f"{first_few(names, 3)}; rename or remove the folders."
        )


def _folders(base: Path) -> list[Path]:
    return sorted(p for p in base.iterdir() if p.is_dir() and not p.name.startswith(".")) if base.is_dir() else []

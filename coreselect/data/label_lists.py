"""ImageNet's validation labels by file: lists for a folder of images that has no class folders.

The first of these that exists is read:

    LOC_val_solution.csv                       a line for each image: its name, a comma, its class, and boxes (Kaggle)
    val.txt, val_labels.txt, val.csv, …        a line for each image: its name, a comma, tab or blank, and its class or its
                                               number from 0 on
    ILSVRC2012_validation_ground_truth.txt     a number 1…1000 for each image in sorted order; `meta.mat` says which class

The first and the last may also lie up to three folders above, as in the published archives, or in a folder of the devkit.
Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015.
"""

import csv
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coreselect.data.annotations import refuse_same_names
from coreselect.data.labels import one_based
from coreselect.data.mat_file import load_mat
from coreselect.errors import DataError, first_few

KAGGLE, TRUTH, META = "LOC_val_solution.csv", "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
_BOXES = re.compile(r"(\S+)(?:\s+\d+){4}(?:\s+\S+(?:\s+\d+){4})*")  # a class and its box, once or several times
_DEVKIT = ("", "ILSVRC2012_devkit_t12/data", "devkit/data", "data")


@dataclass(frozen=True)
class Listed:
    """The classes of the images of a split, one for each file: their numbers, and the names of all numbers if they are known."""

    labels: list[int]
    names: tuple[str, ...] | None


def label_list(split: Path) -> Path | None:
    """Return the list of labels that belongs to a validation or test folder; None if there is none."""
    stem = split.name.lower()
    own = [f"{stem}{middle}{ending}" for middle in ("", "_labels") for ending in (".txt", ".csv")]
    above = [split.parent, *list(split.resolve().parents)[1:4]]  # the root, and up to three folders above it
    places = [folder / KAGGLE for folder in (split, *above)] if stem.startswith("val") else []
    places += [folder / name for folder in (split, split.parent) for name in own]
    places += [f / d / TRUTH for f in (split, *above) for d in _DEVKIT] if stem.startswith("val") else []
    return next((path for path in places if path.is_file()), None)


def listed(path: Path, files: Sequence[Path], known: Sequence[str] | None) -> Listed:
    """Return the classes of image files from their list.

    Args:
        path: of the list.
        files: the images of the split, sorted.
        known: the class names of the training split, by which classes are numbered; None if there is no training split.
    Raises:
        DataError: the list is damaged, does not match the files, or names a class that training does not have.
    """
    lines = _lines(path)
    classes = _by_position(path, lines, files) if path.name == TRUTH else _by_name(path, lines, files, known)
    if known is not None and set(classes) <= set(known):
        return Listed([known.index(name) for name in classes], tuple(known))
    if all(name.isdecimal() and len(name) < 10 for name in classes):
        return _numbered(path, [int(name) for name in classes], known)
    if known is None:
        names = tuple(sorted(set(classes)))
        return Listed([names.index(name) for name in classes], names)
    unknown = sorted(set(classes) - set(known))
    raise DataError(
        f"{path} has classes that the training split does not have ({first_few(unknown, 3)}): its classes are "
        f"{first_few(list(known), 3)}; take the list that belongs to these folders."
    )


def _numbered(path: Path, labels: list[int], known: Sequence[str] | None) -> Listed:
    import numpy as np

    if known is not None and max(labels) >= len(known):
        hint = one_based(np.array(labels), len(known))
        raise DataError(
            f"{path} has numbers up to {max(labels)} for {len(known)} classes{hint}: number them 0…{len(known) - 1} in the "
            "sorted order of the training folders, or write their names."
        )
    return Listed(labels, None if known is None else tuple(known))


def _by_name(path: Path, lines: list[str], files: Sequence[Path], known: Sequence[str] | None) -> list[str]:
    """Read lines with a file name and a class; the ending of the name may be missing, and the first line may be a heading."""
    refuse_same_names(path, files, [file.name for file in files])
    wanted = {key for file in files for key in (file.name, file.stem)}
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        key, rest, by_blanks = _divided(line, wanted)
        if number == 1 and key not in wanted and len(lines) > 1:
            continue  # a heading, or a file that is missing: then one image has no line, or one line too few is counted below
        boxes = _BOXES.fullmatch(rest)
        name = boxes[1] if boxes else _of_words(path, number, rest, known) if by_blanks else rest
        if not name or found.get(key, name) != name:
            raise DataError(f"{path}, line {number}, is {line[:60]!r}: one file name and its class are needed.")
        found[key] = name
    keys = [file.name if file.name in found or file.stem not in found else file.stem for file in files]
    refuse_same_names(path, files, keys)
    classes = [found.get(key) for key in keys]
    absent = [file.name for file, name in zip(files, classes, strict=True) if name is None]
    extra = sorted(found.keys() - wanted)
    if absent or extra:
        said = f"no class for {first_few(absent, 3)}" if absent else f"lines for missing files: {first_few(extra, 3)}"
        raise DataError(f"{path} does not match the images in {files[0].parent} ({said}): unpack the archive again.")
    return [name for name in classes if name is not None]


def _divided(line: str, wanted: Collection[str]) -> tuple[str, str, bool]:
    """Divide a line at its first comma, tab or blank, whichever leaves the name of an image in front.

    Returns:
        the name without its folder; what stands behind it, up to the next comma or tab; and whether a blank divides the line.
    """
    ways = [*([_unquoted(line)] if "," in line else []), *([line.split("\t")] if "\t" in line else [])]
    ways += [line.split(maxsplit=1)]
    divided = [
        (way[0].strip().rsplit("/", 1)[-1], way[1].strip() if len(way) > 1 else "", way is ways[-1]) for way in ways
    ]
    return next((way for way in divided if way[0] in wanted), divided[0])


def _unquoted(line: str) -> list[str]:
    """Return the fields of a line with commas; a field in quotes may have commas of its own."""
    try:
        return next(csv.reader([line], skipinitialspace=True))
    except csv.Error:  # a field of more than 131,072 characters
        return [line]


def _of_words(path: Path, number: int, words: str, known: Sequence[str] | None) -> str:
    """Return the class in a line that blanks divide: all words behind the name if that is a class, else the first.

    Raises:
        DataError: there are several words, and neither is known to be a class.
    """
    first = words.split(maxsplit=1)[0] if words else ""
    if words == first or words in (known or ()):
        return words
    if first in (known or ()) or first.isdecimal():
        return first
    raise DataError(
        f"{path}, line {number}, has the class {first!r} or {words[:60]!r}, which is not clear: write a comma between the name "
        "of the file and its class."
    )


def _by_position(path: Path, lines: list[str], files: Sequence[Path]) -> list[str]:
    """Read the devkit's numbers, one for each image in sorted order, and translate them to names by its `meta.mat`."""
    ids = _ids(path.with_name(META))
    if len(lines) != len(files):
        raise DataError(f"{path} has {len(lines):,} lines for {len(files):,} images: unpack both archives again.")
    wrong = [line for line in lines if not line.strip().isdecimal() or int(line) not in ids]
    if wrong:
        raise DataError(f"{path} has the line {wrong[0][:40]!r}: a number of {META} is needed, as published.")
    return [ids[int(line)] for line in lines]


def _ids(path: Path) -> dict[int, str]:
    """Return the names of the 1,000 classes by their numbers, from the devkit's `meta.mat`."""
    if not path.is_file():
        raise DataError(
            f"{path.parent} has {TRUTH} without {META}, which says which class a number is: copy it there too."
        )
    held = load_mat(path, f"{META} of ImageNet's devkit", squeeze_me=True)
    try:
        synsets: Any = held["synsets"]
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets.reshape(-1)}
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as why:
        said = " ".join(str(why).split())[:120].rstrip(".")
        raise DataError(f"{path} is cut off, damaged, or no {META} of ImageNet's devkit ({said}).") from why


def _lines(path: Path) -> list[str]:
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as why:
        raise DataError(f"{path} is not UTF-8 text: a line is the name of a file and its class.") from why
    if not lines:
        raise DataError(f"{path} is empty: a line is the name of a file and its class.")
    return lines

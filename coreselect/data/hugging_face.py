"""Image datasets that the library `datasets` of Hugging Face has written with `save_to_disk`, read by that library.

A folder holds one dataset (`dataset_info.json`, `state.json`, arrow files), or one such folder for each split and
`dataset_dict.json`. The column of images is of the type `Image`; the column of labels is of the type `ClassLabel`, or
holds whole numbers, or words: these are the classes in sorted order. The names of the training split number every split.
In which format the library would return rows, and whether it would decode images, makes no difference.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from coreselect.data.collate import IMAGE_KEYS
from coreselect.data.decoding import as_rgb
from coreselect.data.images import ImageSet, Int64, UInt8, check_rows, checked_labels, checked_names
from coreselect.data.labels import LABEL_KEYS
from coreselect.errors import CoreselectWarning, DataError, first_few, missing_extra

_SPLITS = {"train": ("train",), "test": ("test", "validation", "valid", "val")}


class HuggingFaceImages(ImageSet):
    """A split of an image dataset; an image is decoded as RGB each time it is read.

    Args:
        table: a `datasets.Dataset`.
        name: of the dataset in messages.
        labels_from: the column of the labels; None finds it.
        words: the class names by which labels with names are numbered; None takes those of the column, or the words that occur.
    Raises:
        DataError: there is no column of images, or several columns could be the labels, or the labels are no class numbers and
            no words, or a label is no class.
    """

    def __init__(
        self, table: Any, name: str, labels_from: str | None = None, words: tuple[str, ...] | None = None
    ) -> None:
        self.name, self.labels_from = name, labels_from
        features = dict(table.features)
        self._images = _one(
            [c for c, kind in features.items() if type(kind).__name__ == "Image"],
            IMAGE_KEYS,
            f"{name}: images",
            features,
        )
        self.table = _decoding(table, self._images)
        column = labels_from or _label_column(features, name)
        if column is not None and column not in features:
            raise DataError(f"{name} has no column {column!r}: it has {', '.join(features)}.")
        self.labels, self.classes = None, None
        if column is None:
            self.unlabelled = (
                f"none of its columns {', '.join(features)} is known to be labels; FOLDER@column names one"
            )
            return
        if _is_text(features[column]):
            occurring = _words_in(table, column, name)
            self.classes = words or occurring
            self.labels = _numbered(table.with_format(None)[column], self.classes, name)
            return
        found = np.asarray(table.with_format("numpy")[column])  # [N]
        if found.dtype.kind in "iu" and len(found) and (found == -1).all():
            self.unlabelled = f"all values of its column {column} are -1"
            return
        _refuse_missing(table, column, found, name)
        self.labels = checked_labels(found, len(table), f"{name}, column {column}")
        self.classes = checked_names(getattr(features[column], "names", None), self.labels, name)
        if words is not None and self.classes is not None and self.classes != words:
            named = [self.classes[label] for label in self.labels.tolist()]
            self.labels, self.classes = _numbered(named, words, name), words

    def __len__(self) -> int:
        return len(self.table)

    def pixels(self, index: int) -> UInt8:
        """Decode image `index` as uint8 [H, W, 3].

        Raises:
            DataError: it is missing or cannot be decoded.
        """
        from PIL.Image import DecompressionBombError

        at = index + len(self) if index < 0 else index
        try:
            image = self.table[at][self._images]
        except (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error, DecompressionBombError) as why:
            said = " ".join(str(why).split())[:120]
            raise DataError(f"{self.name}, row {at}, cannot be decoded as an image ({said}).") from why
        if image is None:
            raise DataError(f"{self.name}, row {at}, has no image in the column {self._images!r}: remove the row.")
        return np.asarray(as_rgb(image, f"{self.name}, row {at},"))

    def first(self, n: int) -> HuggingFaceImages:
        """Return a dataset of the first `n` rows."""
        check_rows(n, len(self), self.name)
        return HuggingFaceImages(self.table.select(range(n)), self.name, self.labels_from, self.classes)


def is_hugging_face(folder: Path) -> bool:
    """Return whether the folder was written by `save_to_disk`."""
    return (folder / "dataset_dict.json").is_file() or all(
        (folder / name).is_file() for name in ("dataset_info.json", "state.json")
    )


def hugging_face_folder(folder: Path, split: Literal["train", "test"], part: str | None = None) -> HuggingFaceImages:
    """Return one split of a folder that `save_to_disk` has written.

    Args:
        folder: of a `datasets.Dataset`, which has only training images, or of a `datasets.DatasetDict`.
        split: "train"; or "test", for which `validation` serves where there is no `test`, with a warning.
        part: the column of the labels, such as `fine_label`, if the dataset has several; None finds it.
    Raises:
        DataError: the folder is damaged, lacks the split, or has no images; or the column of the labels is unclear.
        MissingExtraError: `datasets` or Pillow is not installed.
    """
    try:
        import PIL.Image  # noqa: F401  # which decodes the images
        from datasets import load_from_disk
    except ImportError as why:
        raise missing_extra("datasets", "datasets", f"reading {folder}") from why
    try:
        held: Any = load_from_disk(str(folder))
    except Exception as why:  # many kinds, of arrow, of JSON and of the library
        said = " ".join(str(why).split())[:160].rstrip(".")
        raise DataError(
            f"{folder} cannot be read as a dataset of Hugging Face ({type(why).__name__}: {said})."
        ) from why
    name = f"{folder.resolve().name} {split}"
    if hasattr(held, "features"):
        if split == "test":
            raise DataError(f"{folder} holds one dataset without splits: it has no test images, save a DatasetDict.")
        return HuggingFaceImages(held, name, part)
    words = None if split == "train" or "train" not in held else _training_classes(held["train"], folder, part)
    found = next((word for word in _SPLITS[split] if word in held), None)
    if found is None:
        raise DataError(f"{folder} has no {split} split: it has {', '.join(map(str, held)) or 'none'}.")
    if found not in ("train", "test"):
        warnings.warn(f"{folder} has no test split: {found} serves as the test split.", CoreselectWarning, stacklevel=4)
    return HuggingFaceImages(held[found], name, part, words)


def _words_in(table: Any, column: str, name: str) -> tuple[str, ...]:
    """Return the different words of a column in sorted order, which are its classes.

    Raises:
        DataError: a row has none.
    """
    found = table.unique(column)
    if None in found:
        raise DataError(
            f"{name} has rows without a word in the column {column!r} of labels: remove them, or name them."
        )
    return tuple(sorted(found))


def _refuse_missing(table: Any, column: str, found: Any, name: str) -> None:
    """Refuse labels that some rows lack: arrow calls them null, and numpy makes NaN of them.

    Raises:
        DataError: there are some.
    """
    if found.dtype.kind not in "fO":
        return
    rows = [i for i, value in enumerate(table.with_format(None)[column]) if value is None]
    if rows:
        raise DataError(
            f"{name} has no label in {len(rows):,} of {len(table):,} rows of the column {column!r} (row {first_few(rows, 3)}): "
            "remove these rows, or label them."
        )


def _training_classes(table: Any, folder: Path, part: str | None) -> tuple[str, ...] | None:
    """Return the classes of the training split if its labels have names: they number those of every split."""
    name, features = f"{folder.resolve().name} train", dict(table.features)
    column = part or _label_column(features, name)
    if column is None or column not in features:
        return None
    names = getattr(features[column], "names", None)
    return _words_in(table, column, name) if _is_text(features[column]) else None if names is None else tuple(names)


def _numbered(named: list[str], words: tuple[str, ...], name: str) -> Int64:
    """Return the number of the class of each row, [N].

    Raises:
        DataError: one is none of the classes.
    """
    unknown = sorted({*named} - {*words})
    if unknown:
        raise DataError(
            f"{name} has classes that the training split does not have ({first_few(unknown, 3)}): its classes are "
            f"{first_few(list(words), 3)}."
        )
    numbers = {word: i for i, word in enumerate(words)}
    return np.array([numbers[word] for word in named], np.int64)


def _is_text(kind: Any) -> bool:
    """Return whether a column of this type holds words."""
    return getattr(kind, "dtype", None) in ("string", "large_string")


def _decoding(table: Any, images: str) -> Any:
    """Return the table with rows of plain values and decoded images, whatever format it was saved with."""
    plain, kind = table.with_format(None), table.features[images]
    return plain if kind.decode else plain.cast_column(images, replace(kind, decode=True))


def _label_column(features: dict[str, Any], name: str) -> str | None:
    """Return the column of the labels: of the type ClassLabel, or a usual name with numbers, or with words; None if none is."""
    classes = [c for c, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    whole = [c for c in LABEL_KEYS if str(getattr(features.get(c), "dtype", "")).startswith(("int", "uint"))]
    text = [c for c in LABEL_KEYS if _is_text(features.get(c))]
    found = classes or whole[:1] or text[:1]
    return _one(found, LABEL_KEYS, f"{name}: labels", features) if found else None


def _one(found: list[str], usual: tuple[str, ...], what: str, features: dict[str, Any]) -> str:
    """Return the only column, or the one with a usual name."""
    named = [word for word in usual if word in found]
    if len(found) == 1 or named:
        return named[0] if named else found[0]
    if not found:
        raise DataError(
            f"{what} need a column of the type Image, there are the columns {', '.join(features) or 'none'}."
        )
    raise DataError(
        f"{what} may be any of the columns {', '.join(found)}: name one after the folder, as FOLDER@{found[0]}."
    )

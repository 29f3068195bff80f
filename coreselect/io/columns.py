"""The columns of an index file in text: a `.csv` with one line for each pick, or one column alone in a `.txt`.

| column | what |
|---|---|
| `index` | position in the dataset that was given |
| `path` | file of the example, from the root of the dataset |
| `key` | the path without all its endings, by which WebDataset names a sample |
| `label` | number of its class |
| `group` | the group with which it was picked |
| `weight` | factor of its loss |
"""

import csv
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

ARRAYS = {"index": "source_indices", "label": "labels", "group": "groups", "weight": "weights"}  # column → array
COLUMNS = ("index", "path", "key", "label", "group", "weight")


def column(name: str, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> list[str] | None:
    """Return one column of a selection as texts; None if the file does not hold it."""
    files = meta.get("files")
    if name == "path":
        return None if files is None else list(files)
    if name == "key":
        return None if files is None else [key_of(path) for path in files]
    array = arrays.get(ARRAYS[name])
    return None if array is None else [repr(value) for value in array.tolist()]


def key_of(path: str) -> str:
    """Return the key of a file in a WebDataset: its path up to the first dot of its name."""
    folder, slash, name = path.rpartition("/")
    hidden = name.startswith(".")  # a dot in front begins no ending
    return folder + slash + (name[:1] if hidden else "") + name[hidden:].partition(".")[0]


def pack_csv(arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> bytes:
    """Return a table with a line for each pick, of the columns that there are; keys are left out, as paths give them."""
    found = {name: column(name, arrays, meta) for name in COLUMNS if name != "key"}
    there = {name: values for name, values in found.items() if values is not None}
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(there)
    writer.writerows(zip(*there.values(), strict=True))
    return out.getvalue().encode("utf-8", "surrogateescape")


def unpack_csv(data: bytes) -> list[str]:
    """Return the texts of the column `index`.

    Raises:
        ValueError: it has no such column, or its lines have not all its columns.
    """
    text = data.decode("utf-8", "surrogateescape")
    if not text.endswith("\n"):
        raise ValueError("the last line is cut short: it has no line break")
    head, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    names = [name.strip() for name in head]
    if "index" not in names:
        raise ValueError("the first line has no column `index`")
    for number, line in enumerate(lines, 2):
        if len(line) != len(names):
            raise ValueError(f"line {number} has {len(line)} columns, and the first has {len(names)}")
    return [line[names.index("index")] for line in lines]


def pack_txt(values: list[str]) -> bytes:
    """Return one value in each line.

    Raises:
        ValueError: a value has a line break in it.
    """
    if any("\n" in value or "\r" in value for value in values):
        raise ValueError("a path has a line break in it, which a list cannot hold")
    return "".join(f"{value}\n" for value in values).encode("utf-8", "surrogateescape")


def indices_in(lines: list[str]) -> NDArray[np.int64]:
    """Read whole numbers, one in each line.

    Raises:
        ValueError: a line is none.
    """
    for line in lines:
        if not (line.strip().isdecimal() and line.isascii()):
            raise ValueError(f"{line[:20]!r} is not an index")
    return np.array([int(line) for line in lines], np.int64)

"""Index files, which hold a selection on disk in one of five formats; the ending of the name chooses the format.

`.npz` (the default) and `.json` files are complete. `.npy` and `.txt` files hold only the source indices, `.csv` files also paths,
labels, groups and weights of the picks. A `.txt` file may hold another of these columns.
`coreselect.io.index_formats` describes each format. A complete file holds the name and the version of its format and a
digest of all its content, so a damaged file is always refused. The other formats cannot detect a changed digit or missing
lines.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coreselect.errors import IndexFileError
from coreselect.io import index_formats as formats
from coreselect.io.atomic import atomic_file
from coreselect.io.index_formats import COMPLETE, ENDINGS


def ending(path: str | Path) -> str:
    """Return the ending of a file name, which chooses the format. Call it before long work, to find a wrong name early.

    Raises:
        IndexFileError: no format has this ending.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in ENDINGS:
        got = f"the ending {suffix!r}" if suffix else "no ending"
        raise IndexFileError(f"{path} has {got}: an index file ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}.")
    return suffix


def write(
    path: str | Path, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any], *, column: str = "index"
) -> None:
    """Write an index file. After a crash there is the old file or the new one.

    Args:
        path: the ending chooses the format; a missing folder is made.
        arrays: numeric arrays by name; `source_indices` (int [k]) must be one of them.
        meta: plain values by name (see `strict_json.dumps`); `.npy`, `.txt` and `.csv` files do not hold them, but for the
            paths, `files`.
        column: what a `.txt` file holds: index, path, key, label, group or weight (see `coreselect.io.columns`).
    Raises:
        IndexFileError: the ending is unknown, the format cannot hold an array or a value, or the file cannot be written.
    """
    suffix = ending(path)
    try:
        tidy = {name: formats.tidy(name, array) for name, array in arrays.items()}
        tidy["source_indices"] = formats.as_indices(tidy["source_indices"])
        if suffix in COMPLETE and column == "index":
            data = formats.pack(suffix, tidy, meta)
        else:
            data = formats.pack_plain(suffix, tidy, meta, column)
    except (TypeError, ValueError, RecursionError, KeyError) as why:
        raise IndexFileError(f"{path} cannot hold this selection: {_reason(why)}.") from why
    try:
        with atomic_file(path) as file:
            file.write(data)
    except OSError as why:
        raise IndexFileError(f"{path} cannot be written ({_reason(why)}); what was there before is untouched.") from why


def read(path: str | Path) -> tuple[formats.Arrays, dict[str, Any]]:
    """Read a complete index file: the arrays and the meta that `write` got.

    Raises:
        IndexFileError: the file is missing, damaged, of another format or a newer version, or it holds only indices.
    """
    suffix = ending(path)
    if suffix not in COMPLETE:
        raise IndexFileError(
            f"{path} holds source indices only; gains, groups and provenance are in a complete file (.npz or .json): "
            "give a complete file, or use read_indices for the indices."
        )
    data = _bytes(path)
    try:
        head, arrays = formats.unpack(suffix, data)
        if head["format"] != formats.FORMAT:
            raise ValueError(f"its format is {head['format']!r}")
        version = head["version"]
        whole = version != formats.VERSION or head["check"] == formats.digest(head["meta"], arrays)
    except formats.DAMAGE as why:
        raise IndexFileError(f"{path} is damaged, or not an index file ({_reason(why)}).") from why
    if version != formats.VERSION:
        raise IndexFileError(
            f"{path} is an index file of version {version!r}, this release reads {formats.VERSION}: upgrade."
        )
    if not whole:
        raise IndexFileError(f"{path} is damaged: its content does not match its checksum.")
    return arrays, head["meta"]


def read_indices(path: str | Path) -> NDArray[np.int64]:
    """Read the source indices of an index file of any format.

    Returns:
        int64 [k], k ≥ 1, in pick order, unique and ≥ 0.
    Raises:
        IndexFileError: the file is missing, damaged or of another format.
    """
    suffix = ending(path)
    if suffix in COMPLETE:
        found = read(path)[0].get("source_indices")
        if found is None:
            raise IndexFileError(f"{path} is an index file without source_indices: it was not written by a selection.")
        try:
            return formats.as_indices(found)
        except ValueError as why:
            raise IndexFileError(f"{path} is damaged or edited ({_reason(why)}).") from why
    data = _bytes(path)
    try:
        return formats.as_indices(formats.unpack_plain(suffix, data))
    except formats.DAMAGE as why:
        raise IndexFileError(
            f"{path} is not a {suffix} file of source indices, or it is damaged ({_reason(why)})."
        ) from why


def convert(source: str | Path, target: str | Path, *, column: str = "index") -> NDArray[np.int64]:
    """Write the content of an index file in another format, and return the source indices int64 [k].

    Args:
        column: what a `.txt` file holds, as for `write`.
    Raises:
        IndexFileError: `source` cannot be read, or it holds only indices and `target` has a complete format.
    """
    if ending(target) in COMPLETE or ending(source) in COMPLETE:
        arrays, meta = read(source)
    else:
        arrays, meta = {"source_indices": read_indices(source)}, {}
    write(target, arrays, meta, column=column)
    return arrays["source_indices"]


def held_by(target: str | Path, column: str = "index") -> list[str]:
    """Return what a file holds that was written with this column: its columns, or "everything"."""
    suffix = ending(target)
    if suffix in COMPLETE:
        return ["everything"]
    if suffix != ".csv":
        return [column]
    with open(target, encoding="utf-8", errors="surrogateescape") as file:
        return file.readline().rstrip("\n").split(",")


def _bytes(path: str | Path) -> bytes:
    if Path(path).exists() and not Path(path).is_file():
        raise IndexFileError(f"{path} cannot be read (it is no ordinary file).")
    try:
        return Path(path).read_bytes()
    except OSError as why:
        raise IndexFileError(f"{path} cannot be read ({_reason(why)}).") from why


def _reason(why: BaseException) -> str:
    """Return the message of an exception in one short line."""
    if isinstance(why, KeyError):
        return f"it has no {why.args[0]!r}" if why.args else "a part is missing"
    if isinstance(why, OSError) and why.strerror:
        return why.strerror
    if isinstance(why, json.JSONDecodeError):
        return f"not JSON at character {why.pos}"
    return (" ".join(str(why).split()) or type(why).__name__)[:120].rstrip(".")

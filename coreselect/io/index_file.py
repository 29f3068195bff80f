"""Index files: a selection on disk, in one of five formats that the ending of the name chooses.

`.npz` (the default) and `.json` are complete; `.npy`, `.txt` and `.csv` hold the source indices alone; what is inside
each is in `coreselect.io.index_formats`. A complete file carries its format's name and version and a digest of
everything else in it, so a file with a flipped byte is refused and never read wrongly. The plain formats cannot notice
a changed digit, or lines lost whole.
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
    """Return which of the five formats a name asks for; call it before hours of work, not after.

    Raises:
        IndexFileError: none of them.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in ENDINGS:
        got = f"the ending {suffix!r}" if suffix else "no ending"
        raise IndexFileError(f"{path} has {got}: an index file ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}.")
    return suffix


def write(path: str | Path, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Write an index file; a crash leaves the old file or the new one.

    Args:
        path: its ending chooses the format. A missing folder is made.
        arrays: numeric arrays by name; `source_indices` (int [k]) must be among them.
        meta: plain values by name (see `strict_json.dumps`); `.npy`, `.txt` and `.csv` do not hold it.
    Raises:
        IndexFileError: an unknown ending, an array or a value that the format cannot hold, or a disk that refuses.
    """
    suffix = ending(path)
    try:
        tidy = {name: formats.tidy(name, array) for name, array in arrays.items()}
        indices = formats.as_indices(tidy["source_indices"])
        data = formats.pack(suffix, tidy, meta) if suffix in COMPLETE else formats.pack_plain(suffix, indices)
    except (TypeError, ValueError, RecursionError, KeyError) as why:
        raise IndexFileError(f"{path} cannot hold this selection: {_reason(why)}.") from why
    try:
        with atomic_file(path) as file:
            file.write(data)
    except OSError as why:
        raise IndexFileError(f"{path} cannot be written ({_reason(why)}); what was there before is untouched.") from why


def read(path: str | Path) -> tuple[formats.Arrays, dict[str, Any]]:
    """Read a complete index file: the arrays and the meta that `write` was given.

    Raises:
        IndexFileError: missing, damaged, of another kind or a newer version, or a format that holds indices alone.
    """
    suffix = ending(path)
    if suffix not in COMPLETE:
        raise IndexFileError(
            f"{path} holds source indices alone; gains, groups and provenance are in a complete file (.npz or .json): "
            "give that one, or read_indices for the indices."
        )
    data = _bytes(path)
    try:
        head, arrays = formats.unpack(suffix, data)
        if head["format"] != formats.FORMAT:
            raise ValueError(f"its format is {head['format']!r}")
        version = head["version"]
        whole = version != formats.VERSION or head["check"] == formats.digest(head["meta"], arrays)
    except formats.DAMAGE as why:
        raise IndexFileError(f"{path} is not an index file, or a damaged one ({_reason(why)}).") from why
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
        int64 [k], k ≥ 1, pick order, unique and not negative.
    Raises:
        IndexFileError: missing, damaged or of another kind.
    """
    suffix = ending(path)
    if suffix in COMPLETE:
        found = read(path)[0].get("source_indices")
        if found is None:
            raise IndexFileError(f"{path} is an index file without source_indices: it was not written by a selection.")
        return found
    data = _bytes(path)
    try:
        return formats.as_indices(formats.unpack_plain(suffix, data))
    except formats.DAMAGE as why:
        raise IndexFileError(
            f"{path} is not a {suffix} file of source indices, or a damaged one ({_reason(why)})."
        ) from why


def convert(source: str | Path, target: str | Path) -> NDArray[np.int64]:
    """Write what an index file holds in another format; returns the source indices.

    Raises:
        IndexFileError: `source` cannot be read, or holds indices alone where `target` is a complete format.
    """
    if ending(target) in COMPLETE or ending(source) in COMPLETE:
        arrays, meta = read(source)
    else:
        arrays, meta = {"source_indices": read_indices(source)}, {}
    write(target, arrays, meta)
    return arrays["source_indices"]


def _bytes(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as why:
        raise IndexFileError(f"{path} cannot be read ({_reason(why)}).") from why


def _reason(why: BaseException) -> str:
    """Say in one short line what an exception says."""
    if isinstance(why, KeyError):
        return f"it has no {why.args[0]!r}" if why.args else "a part is missing"
    if isinstance(why, OSError) and why.strerror:
        return why.strerror
    if isinstance(why, json.JSONDecodeError):
        return f"not JSON at character {why.pos}"
    return (" ".join(str(why).split()) or type(why).__name__)[:120].rstrip(".")

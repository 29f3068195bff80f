"""The five formats of index files: the conversion of numeric arrays and meta to bytes and back.

| ending | holds | as |
|---|---|---|
| `.npz` | everything | one `.npy` entry for each array, and `meta.npy`: the uint8 bytes of a JSON text |
| `.json` | everything | `{"format", "version", "check", "meta", "arrays": {name: {"dtype", "shape", "data"}}}` |
| `.npy` | source indices | int64 [k] |
| `.txt` | source indices, or another column | one in each line |
| `.csv` | the columns of `coreselect.io.columns` | a line for each pick, under the names of the columns |

Nothing is pickled. The JSON is strict. Numbers that are not finite are written as `coreselect.io.strict_json` describes in
`meta`, and as the strings "nan", "inf" and "-inf" in the data of an array. Finite numbers keep all their bits; every NaN
becomes the standard NaN.
"""

import csv
import hashlib
import io
import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coreselect.io import columns, npy, strict_json

Arrays = dict[str, NDArray[Any]]

ENDINGS = (".npz", ".json", ".npy", ".txt", ".csv")
COMPLETE = (".npz", ".json")
FORMAT, VERSION = "coreselect-index", 1

# What zipfile, numpy and json can raise for damaged bytes; an "encrypted" entry raises RuntimeError.
DAMAGE = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, EOFError, SyntaxError, RuntimeError,
    MemoryError, OSError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError,
    csv.Error,
)  # fmt: skip


def tidy(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return the array in C order, little-endian and with one kind of NaN.

    Raises:
        TypeError, ValueError: a file cannot hold this array or this name.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(
            f"the array {name!r} is {array.dtype}, a file holds booleans, integers and floats of up to 64 bits"
        )
    if name == "meta" or not name.isidentifier():
        raise ValueError(f"{name!r} cannot name an array")
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(array.shape)
    return np.where(np.isnan(array), array.dtype.type(np.nan), array) if array.dtype.kind == "f" else array


def as_indices(array: NDArray[Any]) -> NDArray[np.int64]:
    """Return source indices as int64 [k].

    Raises:
        ValueError: they are not at least one unique position.
    """
    if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size:
        raise ValueError(f"source indices are a vector of at least one integer, got {array.dtype} {list(array.shape)}")
    if array.min() < 0 or array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{array.min() if array.min() < 0 else array.max()} is not a position")
    if len(np.unique(array)) != len(array):
        raise ValueError("an index occurs twice")
    return array.astype(np.int64)


def digest(meta: Any, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return a digest of the whole content of a complete file; it does not depend on the format or the order of names."""
    state = hashlib.blake2b(strict_json.canonical(meta).encode(), digest_size=16)
    for name, array in sorted(arrays.items()):
        state.update(f"|{name}|{array.dtype.str}|{array.shape}|".encode())
        state.update(array.tobytes())
    return state.hexdigest()


def pack(suffix: str, arrays: Arrays, meta: Mapping[str, Any]) -> bytes:
    """Return the bytes of a file in a complete format."""
    plain = strict_json.loads(strict_json.dumps(meta))  # as it will be read, because the digest is computed from it
    head = {"format": FORMAT, "version": VERSION, "check": digest(plain, arrays), "meta": plain}
    if suffix == ".json":
        return f"{strict_json.dumps({**head, 'arrays': {k: _listed(a) for k, a in arrays.items()}})}\n".encode()
    entries = {**arrays, "meta": np.frombuffer(strict_json.dumps(head).encode(), np.uint8)}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in entries.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, array, allow_pickle=False)
            # ZipInfo has a fixed date, so that equal selections give equal bytes
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue())
    return out.getvalue()


def unpack(suffix: str, data: bytes) -> tuple[dict[str, Any], Arrays]:
    """Read a complete format: `{"format", "version", "check", "meta"}`, which is not verified here, and the arrays."""
    return _unpack_npz(data) if suffix == ".npz" else _unpack_json(data)


def _unpack_npz(data: bytes) -> tuple[dict[str, Any], Arrays]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:  # `read` checks the CRC of each entry
        npy.check_members(archive, len(data))
        arrays = {name.removesuffix(".npy"): npy.member(archive, name) for name in archive.namelist()}
    return strict_json.loads(arrays.pop("meta").tobytes()), arrays


def _listed(array: NDArray[Any]) -> dict[str, Any]:
    data = array.ravel().tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        data = [value if np.isfinite(value) else str(value) for value in data]
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}


def _unpack_json(data: bytes) -> tuple[dict[str, Any], Arrays]:
    head = strict_json.loads(data)
    if not isinstance(head, dict):
        kind = {list: "a list", str: "a text", type(None): "null"}.get(type(head), "a number")
        raise ValueError(
            f"it holds {kind}, not an object with format, version, check, meta and arrays; plain indices go into .npy, .txt or .csv"
        )
    if not isinstance(head.get("arrays", {}), dict):
        raise ValueError("its arrays are no object of arrays by name")
    arrays = {}
    for name, entry in head["arrays"].items():
        if not isinstance(entry, dict):
            raise ValueError(f"the array {name!r} is no object with dtype, shape and data")
        dtype = np.dtype(entry["dtype"])
        if dtype.kind not in "biuf":
            raise ValueError(f"the array {name!r} has dtype {dtype}")
        arrays[name] = np.array([float(v) if isinstance(v, str) else v for v in entry["data"]], dtype).reshape(
            entry["shape"]
        )
    return head, arrays


def pack_plain(suffix: str, arrays: Arrays, meta: Mapping[str, Any], column: str = "index") -> bytes:
    """Return the bytes of a file that other programs read.

    Raises:
        ValueError: there is no such column, or the format holds another.
    """
    if suffix == ".csv" and column == "index":
        return columns.pack_csv(arrays, meta)
    if suffix == ".npy" and column == "index":
        out = io.BytesIO()
        np.lib.format.write_array(out, arrays["source_indices"], allow_pickle=False)
        return out.getvalue()
    if suffix != ".txt":
        raise ValueError(f"one column, {column!r}, goes into a .txt file")
    values = columns.column(column, arrays, meta)
    if values is None:
        raise ValueError(
            f"the selection has no column {column!r}: paths and labels are of the picks of a dataset that lists them"
        )
    return columns.pack_txt(values)


def unpack_plain(suffix: str, data: bytes) -> NDArray[Any]:
    """Read the indices of a file that other programs read; `as_indices` checks them."""
    if suffix == ".npy":
        return npy.array_in(data)
    if suffix == ".csv":
        return columns.indices_in(columns.unpack_csv(data))
    text = data.decode("utf-8")
    if not text.endswith("\n"):
        raise ValueError("the last line is cut short: it has no line break")
    return columns.indices_in(text.splitlines())

"""The bytes of index files: numeric arrays and meta ↔ each of the five formats, in memory.

| ending | holds | as |
|---|---|---|
| `.npz` | everything | one `.npy` entry per array, and `meta.npy`: the uint8 bytes of a JSON text |
| `.json` | everything | `{"format", "version", "check", "meta", "arrays": {name: {"dtype", "shape", "data"}}}` |
| `.npy` | source indices | int64 [k] |
| `.txt` | source indices | one a line |
| `.csv` | source indices | one a line, under the word `index` |

Nothing is ever pickled. JSON is strict: numbers that are not finite are written as `coreselect.io.strict_json` says in
`meta`, and as the strings "nan", "inf" and "-inf" among an array's data. Finite numbers return bit for bit, every NaN
as the one standard NaN.
"""

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

from coreselect.io import strict_json

Arrays = dict[str, NDArray[Any]]

ENDINGS = (".npz", ".json", ".npy", ".txt", ".csv")
COMPLETE = (".npz", ".json")
FORMAT, VERSION = "coreselect-index", 1

# What zipfile, numpy's header reader and json raise on damaged bytes, by name; an "encrypted" entry is a RuntimeError.
DAMAGE = (
    ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, EOFError, SyntaxError, RuntimeError,
    MemoryError, OSError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError,
)  # fmt: skip


def tidy(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return a C-ordered native array with one kind of NaN, or say why not."""
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
    """Return int64 [k] source indices, or say why these are none."""
    if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size:
        raise ValueError(f"source indices are at least one integer in a row, got {array.dtype} {list(array.shape)}")
    if array.min() < 0 or array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{array.min() if array.min() < 0 else array.max()} is not a position")
    if len(np.unique(array)) != len(array):
        raise ValueError("an index occurs twice")
    return array.astype(np.int64)


def digest(meta: Any, arrays: Mapping[str, NDArray[Any]]) -> str:
    """Digest everything a complete file says, independent of the format and of the order of names."""
    state = hashlib.blake2b(strict_json.canonical(meta).encode(), digest_size=16)
    for name, array in sorted(arrays.items()):
        state.update(f"|{name}|{array.dtype.str}|{array.shape}|".encode())
        state.update(array.tobytes())
    return state.hexdigest()


def pack(suffix: str, arrays: Arrays, meta: Mapping[str, Any]) -> bytes:
    """Write a complete format."""
    plain = strict_json.loads(strict_json.dumps(meta))  # as it will be read, so that the digest is of that
    head = {"format": FORMAT, "version": VERSION, "check": digest(plain, arrays), "meta": plain}
    if suffix == ".json":
        return f"{strict_json.dumps({**head, 'arrays': {k: _listed(a) for k, a in arrays.items()}})}\n".encode()
    entries = {**arrays, "meta": np.frombuffer(strict_json.dumps(head).encode(), np.uint8)}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, array in entries.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, array, allow_pickle=False)
            archive.writestr(
                zipfile.ZipInfo(f"{name}.npy"), entry.getvalue()
            )  # a fixed date: equal selections, equal bytes
    return out.getvalue()


def unpack(suffix: str, data: bytes) -> tuple[dict[str, Any], Arrays]:
    """Read a complete format: `{"format", "version", "check", "meta"}`, none of it verified, and the arrays."""
    return _unpack_npz(data) if suffix == ".npz" else _unpack_json(data)


def _unpack_npz(data: bytes) -> tuple[dict[str, Any], Arrays]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:  # `read` checks each entry's CRC
        arrays = {
            name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
            for name in archive.namelist()
        }
    return strict_json.loads(arrays.pop("meta").tobytes()), arrays


def _listed(array: NDArray[Any]) -> dict[str, Any]:
    data = array.ravel().tolist()
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        data = [value if np.isfinite(value) else str(value) for value in data]
    return {"dtype": array.dtype.name, "shape": list(array.shape), "data": data}


def _unpack_json(data: bytes) -> tuple[dict[str, Any], Arrays]:
    head = strict_json.loads(data)
    arrays = {}
    for name, entry in head["arrays"].items():
        dtype = np.dtype(entry["dtype"])
        if dtype.kind not in "biuf":
            raise ValueError(f"the array {name!r} has dtype {dtype}")
        arrays[name] = np.array([float(v) if isinstance(v, str) else v for v in entry["data"]], dtype).reshape(
            entry["shape"]
        )
    return head, arrays


def pack_plain(suffix: str, indices: NDArray[np.int64]) -> bytes:
    """Write a format of indices alone."""
    if suffix == ".npy":
        out = io.BytesIO()
        np.lib.format.write_array(out, indices, allow_pickle=False)
        return out.getvalue()
    lines = ["index"] if suffix == ".csv" else []
    return "".join(f"{line}\n" for line in [*lines, *indices.tolist()]).encode()


def unpack_plain(suffix: str, data: bytes) -> NDArray[Any]:
    """Read a format of indices alone; `as_indices` says whether they are any."""
    if suffix == ".npy":
        file = io.BytesIO(data)
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):
            raise ValueError("bytes after the array")
        return array
    text = data.decode("ascii")
    if not text.endswith("\n"):
        raise ValueError("the last line is cut short: it has no line break")
    lines = text.splitlines()
    if suffix == ".csv" and lines.pop(0).strip() != "index":
        raise ValueError("the first line is not `index`")
    return np.array([_index(line) for line in lines], np.int64)


def _index(line: str) -> int:
    if not line.strip().isdecimal():
        raise ValueError(f"{line[:20]!r} is not an index")
    return int(line)

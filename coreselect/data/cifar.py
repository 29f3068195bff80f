"""CIFAR-10 and CIFAR-100 as published: the Python or the binary files, in a folder or still in their `.tar.gz`.

A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009. An image is 3,072 bytes: 1,024 red, 1,024
green, 1,024 blue, row by row.
"""

import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coreselect.data import plain_pickle
from coreselect.data.images import Images, UInt8
from coreselect.errors import DataError

PIXELS = 3 * 32 * 32
FOLDERS = ("cifar-10-batches-py", "cifar-100-python", "cifar-10-batches-bin", "cifar-100-binary")

Files = Mapping[str, Callable[[], bytes]]  # file name -> its content


@dataclass(frozen=True, slots=True)
class _Kind:
    """One of the four distributions: its files, and where labels and names are in them."""

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    labels: bytes | int  # key of the pickled labels; or label bytes before each binary image, the last one counts
    names_key: bytes = b""
    classes: int = 10

    def files(self, split: str) -> tuple[str, ...]:
        return self.train if split == "train" else self.test


_TEN = tuple(f"data_batch_{i}" for i in range(1, 6))
_KINDS = (
    _Kind("CIFAR-10", _TEN, ("test_batch",), "batches.meta", b"labels", b"label_names"),
    _Kind("CIFAR-100", ("train",), ("test",), "meta", b"fine_labels", b"fine_label_names", 100),
    _Kind("CIFAR-10", tuple(f"{f}.bin" for f in _TEN), ("test_batch.bin",), "batches.meta.txt", 1),
    _Kind("CIFAR-100", ("train.bin",), ("test.bin",), "fine_label_names.txt", 2, classes=100),
)


def is_cifar(folder: Path) -> bool:
    """Say whether CIFAR files lie in the folder, or in one of their published folders inside it."""
    return any(_kinds(_folder_files(place)) for place in _places(folder))


def cifar_folder(folder: Path, split: Literal["train", "test"]) -> Images:
    """Return a split of the CIFAR files in a folder.

    Raises:
        DataError: files are missing or damaged, ask to run something, or there is more than one CIFAR.
    """
    found = [place for place in _places(folder) if _kinds(_folder_files(place))]
    if len(found) != 1:
        raise DataError(
            f"{folder} holds {len(found)} CIFAR folders ({', '.join(p.name for p in found)}): name one of them."
        )
    return _read(_folder_files(found[0]), split, str(found[0]))


def cifar_archive(path: Path, split: Literal["train", "test"]) -> Images:
    """Return a split of a published CIFAR `.tar.gz`, read in memory without extracting it.

    Raises:
        DataError: not a tar archive, none of CIFAR's, or damaged.
    """
    wanted = {file for kind in _KINDS for file in (*kind.files(split), kind.names)}
    present: dict[str, bytes | None] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                file = archive.extractfile(member) if member.isreg() else None
                if file is not None:
                    name = member.name.rsplit("/", 1)[-1]
                    present[name] = file.read() if name in wanted else None
            while archive.fileobj is not None and archive.fileobj.read(1 << 20):
                pass  # to the end, where gzip's checksum is
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as why:
        raise DataError(f"{path} is not a readable tar archive ({' '.join(str(why).split())[:120]}).") from why
    files = {name: (lambda data=data: data or b"") for name, data in present.items()}
    if not _kinds(files):
        raise DataError(f"{path} is a tar archive without CIFAR's files ({_TEN[0]}, train, or the same with .bin).")
    return _read(files, split, str(path))


def _places(folder: Path) -> list[Path]:
    return [folder, *(folder / name for name in FOLDERS if (folder / name).is_dir())]


def _folder_files(folder: Path) -> Files:
    names = {file for kind in _KINDS for file in (*kind.train, *kind.test, kind.names)}
    return {name: (folder / name).read_bytes for name in sorted(names) if (folder / name).is_file()}


def _kinds(files: Files) -> list[_Kind]:
    return [kind for kind in _KINDS if any(name in files for name in (*kind.train, *kind.test))]


def _read(files: Files, split: Literal["train", "test"], where: str) -> Images:
    """Read the one kind of CIFAR that is there."""
    kinds = _kinds(files)
    if len(kinds) != 1:
        raise DataError(f"{where} mixes {len(kinds)} distributions of CIFAR: keep one to a folder.")
    kind = kinds[0]
    missing = [name for name in kind.files(split) if name not in files]
    if missing:
        raise DataError(
            f"{where} lacks {', '.join(missing)}: {kind.name}'s {split} split is {len(kind.files(split))} files."
        )
    parts = [_part(kind, files[name](), f"{where}/{name}") for name in kind.files(split)]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if labels.min() < 0 or labels.max() >= kind.classes:
        raise DataError(f"{where}: labels of {kind.name} are 0…{kind.classes - 1}, one is {labels.max()}.")
    return Images(images, labels, f"{kind.name} {split}", _names(kind, files, where))


def _part(kind: _Kind, data: bytes, where: str) -> tuple[UInt8, NDArray[Any]]:
    """Return images [n, 32, 32, 3] and labels [n] of one file."""
    if isinstance(kind.labels, int):
        record = kind.labels + PIXELS
        if not data or len(data) % record:
            raise DataError(f"{where} has {len(data)} bytes, not a multiple of the {record} of an image and its label.")
        rows = np.frombuffer(data, np.uint8).reshape(-1, record)
        flat, labels = rows[:, kind.labels :], rows[:, kind.labels - 1]
    else:
        held = plain_pickle.load(data, where)
        held = {_bytes(key): value for key, value in held.items()} if isinstance(held, dict) else {}
        flat, found = held.get(b"data"), held.get(kind.labels)
        if not isinstance(flat, np.ndarray) or flat.dtype != np.uint8 or flat.ndim != 2 or flat.shape[1] != PIXELS:
            raise DataError(f"{where} has no {kind.name} images: uint8 [n, {PIXELS}] is needed under the key 'data'.")
        labels = _whole_numbers(found)
        if not len(flat) or labels is None or labels.shape != flat.shape[:1]:
            raise DataError(
                f"{where} has no {kind.name} labels: {len(flat)} integers are needed under {kind.labels.decode()!r}."
            )
    return flat.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels.astype(np.int64)


def _names(kind: _Kind, files: Files, where: str) -> list[str] | None:
    """Return the class names, or None where the file with them is missing."""
    if kind.names not in files:
        return None
    data = files[kind.names]()
    if isinstance(kind.labels, int):
        names: Any = data.decode("utf-8", "replace").split()
    else:
        held = plain_pickle.load(data, f"{where}/{kind.names}")
        held = {_bytes(key): value for key, value in held.items()} if isinstance(held, dict) else {}
        names = held.get(kind.names_key)
    if not isinstance(names, list) or len(names) != kind.classes:
        raise DataError(f"{where}/{kind.names} does not name the {kind.classes} classes of {kind.name}.")
    return [_bytes(name).decode("utf-8", "replace") for name in names]


def _whole_numbers(found: Any) -> NDArray[Any] | None:
    if isinstance(found, list) and all(isinstance(value, int) and 0 <= value < 1000 for value in found):
        return np.array(found, np.int64)
    return found if isinstance(found, np.ndarray) and found.dtype.kind in "iu" else None


def _bytes(key: Any) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode("utf-8", "replace")

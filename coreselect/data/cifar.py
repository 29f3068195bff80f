"""CIFAR-10 and CIFAR-100 as published: the Python files or the binary files, in a folder or in their `.tar.gz`.

A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009. An image is 3,072 bytes:
1,024 red, 1,024 green and 1,024 blue bytes, each row by row.
"""

import lzma
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from coreselect.data import cifar_n, plain_pickle
from coreselect.data.images import Images, UInt8
from coreselect.errors import DataError
from coreselect.io import npy

PIXELS = 3 * 32 * 32
FOLDERS = ("cifar-10-batches-py", "cifar-100-python", "cifar-10-batches-bin", "cifar-100-binary")

Files = Mapping[str, Callable[[], bytes]]  # file name -> its content


@dataclass(frozen=True, slots=True)
class _Version:
    """One of the four published versions: its files, and the place of labels and names in them.

    `labels` is the key of the labels in a pickle, or the number of label bytes before each image of a binary file. The
    last of these bytes is the label.
    """

    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    names: str
    labels: bytes | int
    names_key: bytes = b""
    classes: int = 10

    def files(self, split: str) -> tuple[str, ...]:
        return self.train if split == "train" else self.test


_TEN = tuple(f"data_batch_{i}" for i in range(1, 6))
_VERSIONS = (
    _Version("CIFAR-10", _TEN, ("test_batch",), "batches.meta", b"labels", b"label_names"),
    _Version("CIFAR-100", ("train",), ("test",), "meta", b"fine_labels", b"fine_label_names", 100),
    _Version("CIFAR-10", tuple(f"{f}.bin" for f in _TEN), ("test_batch.bin",), "batches.meta.txt", 1),
    _Version("CIFAR-100", ("train.bin",), ("test.bin",), "fine_label_names.txt", 2, classes=100),
)


def is_cifar(folder: Path) -> bool:
    """Return whether the folder holds CIFAR files, directly or in one of the published folders."""
    return any(_versions_in(_folder_files(place)) for place in _places(folder))


def cifar_folder(folder: Path, split: Literal["train", "test"], part: str | None = None) -> Images:
    """Return one split of the CIFAR files in a folder.

    Args:
        folder: with the files, or with one of the published folders.
        split: the labels of "test" are always the published ones.
        part: labels of CIFAR-N for the training images, see `cifar_n.relabelled`; None takes the published labels.
    Raises:
        DataError: files are missing or damaged, a pickle asks to run something, or there is more than one version of CIFAR.
        UnknownNameError: CIFAR-N has no such labels.
    """
    found = [place for place in _places(folder) if _versions_in(_folder_files(place))]
    if len(found) != 1:
        raise DataError(
            f"{folder} holds {len(found)} CIFAR folders ({', '.join(p.name for p in found)}): name one of them."
        )
    return _read(_folder_files(found[0]), split, str(found[0]), part, [found[0], folder, found[0].resolve().parent])


def cifar_archive(path: Path, split: Literal["train", "test"], part: str | None = None) -> Images:
    """Return one split of a published CIFAR `.tar.gz`, read into memory; nothing is extracted to disk.

    The arguments are those of `cifar_folder`; the labels of CIFAR-N lie beside the archive.

    Raises:
        DataError: the file is not a tar archive, is damaged, or holds no CIFAR files.
    """
    wanted = {file for version in _VERSIONS for file in (*version.files(split), version.names)}
    present: dict[str, bytes | None] = {}
    try:
        with tarfile.open(path, "r:*") as archive:
            left = npy.may_hold(path.stat().st_size)  # bytes that may come out of it
            for member in archive:
                left = _less(left, member.size)
                file = archive.extractfile(member) if member.isreg() else None
                if file is not None:
                    name = member.name.rsplit("/", 1)[-1]
                    present[name] = file.read() if name in wanted else None
            while archive.fileobj is not None and (more := archive.fileobj.read(1 << 20)):
                left = _less(left, len(more))  # read to the end, where the checksum of gzip is
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, ValueError, OverflowError) as why:
        raise DataError(f"{path} is not a readable tar archive ({' '.join(str(why).split())[:120]}).") from why
    files = {name: (lambda data=data: data or b"") for name, data in present.items()}
    if not _versions_in(files):
        raise DataError(f"{path} is a tar archive without CIFAR's files ({_TEN[0]}, train, or the same with .bin).")
    return _read(files, split, str(path), part, [path.resolve().parent])


def _less(left: int, size: int) -> int:
    if not 0 <= size <= left:
        raise ValueError("its members are larger than an archive of this size can hold")
    return left - size


def _places(folder: Path) -> list[Path]:
    return [folder, *(folder / name for name in FOLDERS if (folder / name).is_dir())]


def _folder_files(folder: Path) -> Files:
    names = {file for version in _VERSIONS for file in (*version.train, *version.test, version.names)}
    return {name: (folder / name).read_bytes for name in sorted(names) if (folder / name).is_file()}


def _versions_in(files: Files) -> list[_Version]:
    return [version for version in _VERSIONS if any(name in files for name in (*version.train, *version.test))]


def _read(files: Files, split: Literal["train", "test"], where: str, part: str | None, places: list[Path]) -> Images:
    """Read one split of the only version of CIFAR among the files; the labels of CIFAR-N lie in one of the places."""
    if part is not None:
        cifar_n.check_label_set(part)
    versions = _versions_in(files)
    if len(versions) != 1:
        raise DataError(f"{where} mixes {len(versions)} versions of CIFAR: keep one in a folder.")
    version = versions[0]
    missing = [name for name in version.files(split) if name not in files]
    if missing:
        raise DataError(
            f"{where} lacks {', '.join(missing)}: {version.name}'s {split} split is {len(version.files(split))} files."
        )
    parts = [_part(version, files[name](), f"{where}/{name}") for name in version.files(split)]
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if labels.min() < 0 or labels.max() >= version.classes:
        raise DataError(f"{where}: labels of {version.name} are 0…{version.classes - 1}, one is {labels.max()}.")
    dataset = Images(images, labels, f"{version.name} {split}", _names(version, files, where))
    if part is None or split == "test":
        return dataset
    return cifar_n.relabelled(dataset, version.name, version.classes, places, part)


def _part(version: _Version, data: bytes, where: str) -> tuple[UInt8, NDArray[Any]]:
    """Return the images [n, 32, 32, 3] and the labels [n] of one file."""
    if isinstance(version.labels, int):
        record = version.labels + PIXELS
        if not data or len(data) % record:
            raise DataError(f"{where} has {len(data)} bytes, not a multiple of the {record} of an image and its label.")
        rows = np.frombuffer(data, np.uint8).reshape(-1, record)
        flat, labels = rows[:, version.labels :], rows[:, version.labels - 1]
    else:
        held = plain_pickle.load(data, where)
        held = {_bytes(key): value for key, value in held.items()} if isinstance(held, dict) else {}
        flat, found = held.get(b"data"), held.get(version.labels)
        if not isinstance(flat, np.ndarray) or flat.dtype != np.uint8 or flat.ndim != 2 or flat.shape[1] != PIXELS:
            raise DataError(
                f"{where} has no {version.name} images: uint8 [n, {PIXELS}] is needed under the key 'data'."
            )
        labels = _whole_numbers(found)
        if not len(flat) or labels is None or labels.shape != flat.shape[:1]:
            raise DataError(
                f"{where} has no {version.name} labels: {len(flat)} integers are needed under {version.labels.decode()!r}."
            )
    return flat.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels.astype(np.int64)


def _names(version: _Version, files: Files, where: str) -> list[str] | None:
    """Return the class names, or None if their file is missing."""
    if version.names not in files:
        return None
    data = files[version.names]()
    if isinstance(version.labels, int):
        names: Any = data.decode("utf-8", "replace").split()
    else:
        held = plain_pickle.load(data, f"{where}/{version.names}")
        held = {_bytes(key): value for key, value in held.items()} if isinstance(held, dict) else {}
        names = held.get(version.names_key)
    if not isinstance(names, list) or len(names) != version.classes:
        raise DataError(f"{where}/{version.names} does not name the {version.classes} classes of {version.name}.")
    return [_bytes(name).decode("utf-8", "replace") for name in names]


def _whole_numbers(found: Any) -> NDArray[Any] | None:
    if isinstance(found, list) and all(isinstance(value, int) and 0 <= value < 1000 for value in found):
        return np.array(found, np.int64)
    return found if isinstance(found, np.ndarray) and found.dtype.kind in "iu" else None


def _bytes(key: Any) -> bytes:
    return key if isinstance(key, bytes) else str(key).encode("utf-8", "replace")

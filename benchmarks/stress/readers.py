"""Every reader of files, with a small good file for each: what is damaged by `files.py`."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coreselect.data import load, plain_pickle
from coreselect.data.arrays import read_array
from coreselect.io import index_file
from coreselect.io.record_log import RecordLog
from coreselect.io.weights_file import load_verified
from coreselect.support.records import digest_of
from coreselect_integrations.comparison.cell_files import read_json
from coreselect_integrations.comparison.cell_run import EMPTY_RECORD
from coreselect_integrations.comparison.plan import Cell
from coreselect_integrations.comparison.record_checks import why_unbelievable
from coreselect_integrations.evaluation.corruption_files import LABELS
from coreselect_integrations.networks import MODEL, NetworkSpec, make, open_network, save_network

INDICES = np.array([5, 0, 9, 3], np.int64)
IMAGES = np.arange(20 * 32 * 32 * 3, dtype=np.int64).astype(np.uint8).reshape(20, 32, 32, 3)
FLAT = IMAGES.transpose(0, 3, 1, 2).reshape(20, 3072)
CELL = Cell("rs2", 0.25, 0)


@dataclass(frozen=True)
class Reader:
    """A reader of one kind of file.

    Attributes:
        make: folder → the good file that is damaged.
        read: that file → what was read, as something to compare.
        verified: whether the file holds a checksum, so that a changed value must be refused.
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    verified: bool = False


def _index(suffix: str) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        path = folder / f"c{suffix}"
        index_file.write(path, {"source_indices": INDICES, "gains": np.linspace(0, 1, 4)}, {"a": [1, {"b": "c"}]})
        return path

    return made


def _written(
    name: str, content: Callable[[], bytes], more: Callable[[Path], None] = lambda folder: None
) -> Callable[[Path], Path]:
    def made(folder: Path) -> Path:
        more(folder)
        (folder / name).write_bytes(content())
        return folder / name

    return made


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def _saved(value: Any) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def _batch() -> bytes:
    return pickle.dumps({b"data": FLAT, b"labels": [i % 10 for i in range(20)]}, 2)


def _downsampled() -> bytes:
    return pickle.dumps({"data": FLAT, "labels": [*range(1, 21)]})


def _cifar(folder: Path) -> None:
    for name in ("data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        (folder / name).write_bytes(_batch())


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
            head = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            head.size = len(_batch())
            archive.addfile(head, io.BytesIO(_batch()))
    return out.getvalue()


def _mat() -> bytes:
    from scipy.io import savemat

    out = io.BytesIO()
    savemat(out, {"X": IMAGES.transpose(1, 2, 3, 0), "y": np.arange(20)[:, None] % 10 + 1}, do_compression=True)
    return out.getvalue()


def _network(folder: Path) -> Path:
    spec = NetworkSpec("small", 1, 8, projection=2)
    save_network(folder / MODEL, make(spec, 0), spec, {"a": 1})
    return folder / MODEL


def _rows(folder: Path) -> Path:
    with RecordLog.made(folder / "a.rows", {"run": {}, "kind": "Rows", "batches": 3}) as log:
        for i in range(3):
            log.append(bytes([i]) * 100)
    return folder / "a.rows"


def _row_values(path: Path) -> Any:
    with RecordLog(path, write=False) as log:
        found = [bytes(content) for content in log]
    whole = [bytes([i]) * 100 for i in range(3)]
    return whole if found == whole[: len(found)] else found  # a shorter store is made again: nothing false is in it


def _cell(path: Path) -> Any:
    record = read_json(path)
    wrong = why_unbelievable(record, CELL, {"trained": 40})
    if wrong is not None:
        from coreselect.errors import DataError

        raise DataError(wrong)
    return record


def _png() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(IMAGES[0]).save(out, "png")
    return out.getvalue()


def _class_folder(folder: Path) -> None:
    for split in ("train", "test"):
        for name in ("a", "b"):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            (folder / split / name / "0.png").write_bytes(_png())


def _items(path: Path, up: int = 0) -> Any:
    folder = path.parents[up]
    data = load(str(path if path.name.endswith(".gz") else folder), "train")
    rows = min(len(data), 1000)
    return len(data), [float(torch.as_tensor(np.array(data[i][0])).double().sum()) for i in range(rows)]


def _cell_bytes() -> bytes:
    shares = {"trained": {"standard": 0.5, "robust": 0.25, "n": 40}}
    return json.dumps({**asdict(CELL), **EMPTY_RECORD, "epochs": 3, "accuracy": shares, "rd": 0.5}).encode()


READERS: dict[str, Reader] = {
    **{f"index {s}": Reader(_index(s), lambda p: index_file.read_indices(p).tolist(), s in index_file.COMPLETE)
       for s in index_file.ENDINGS},
    "array .npy": Reader(_written("a.npy", lambda: _npy(IMAGES)), lambda p: read_array(p).sum()),
    "weights": Reader(_written("w.pt", lambda: _saved({"a": torch.arange(64.0)})), lambda p: load_verified(p)["a"].tolist(), True),
    "network": Reader(_network, lambda p: digest_of(open_network(p)[0].weights, 8), True),
    "rows": Reader(_rows, _row_values, True),
    "cell": Reader(_written("cell.json", _cell_bytes), lambda p: str(_cell(p))),
    "pickle": Reader(_written("data_batch_1", _batch), lambda p: str(plain_pickle.load(p.read_bytes(), p.name))),
    "array folder": Reader(_written("images_train.npy", lambda: _npy(IMAGES),
                                    lambda f: np.save(f / "labels_train.npy", np.arange(20) % 3)), _items),
    "labels": Reader(_written("labels_train.npy", lambda: _npy(np.arange(20) % 3),
                              lambda f: np.save(f / "images_train.npy", IMAGES)), _items),
    "cifar python": Reader(_written("data_batch_1", _batch, _cifar), _items),
    "cifar tar.gz": Reader(_written("cifar-10-python.tar.gz", _tar), _items),
    "downsampled npz": Reader(_written("train_data_batch_1.npz", lambda: _npz(data=FLAT, labels=np.arange(20) + 1)), _items),
    "downsampled pickle": Reader(_written("train_data_batch_1", _downsampled), _items),
    "svhn": Reader(_written("train_32x32.mat", _mat), _items),
    "image": Reader(_written("train/a/0.png", _png, _class_folder), lambda p: _items(p, 2)),
    "corrupted labels": Reader(_written(f"{LABELS}.npy", lambda: _npy(np.arange(100) % 10)), lambda p: read_array(p).sum()),
}  # fmt: skip
